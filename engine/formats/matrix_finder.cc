#include "engine/formats/matrix_finder.h"

#include <string>
#include <utility>

#include "base/status.h"
#include "engine/formats/matrix_request.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// What the formats call the scales of X.weight: DeepSeek up to V3.2; compressed-tensors and early
// FP8 files; DeepSeek V4.
constexpr std::string_view kScaleNames[] = {"weight_scale_inv", "weight_scale", "scale"};

bool IsCodes(DType dtype) {
  switch (dtype) {
    case DType::kF8E4M3:
    case DType::kF8E5M2:
    case DType::kF4E2M1:
    case DType::kI8:
    case DType::kU8:
      return true;
    default:
      return false;
  }
}

absl::StatusOr<StoredMatrix> FindWeight(const MatrixRequest& request) {
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* weight,
                           request.tensors.Require(request.NameOf("weight")));
  // Floats stand for themselves, whatever lies beside them (a quantization that was not finished).
  if (IsCodes(weight->view.dtype)) {
    for (const std::string_view scale : kScaleNames) {
      if (request.Find(scale) != nullptr) return FindScaledBytes(request, scale);
    }
    if (request.config.method != QuantMethod::kNone && !request.config.Keeps(request.module)) {
      const std::string_view scale =
          request.config.method == QuantMethod::kFp8 ? "weight_scale_inv" : "weight_scale";
      return request.tensors.Require(request.NameOf(scale)).status();
    }
  }
  const Shape shape = {request.rows, request.columns};
  if (weight->view.shape != shape) return BadShape(*weight, ToString(shape));
  return StoredMatrix(*weight);
}

}  // namespace

absl::StatusOr<MatrixFinder> MatrixFinder::Create(const Checkpoint& checkpoint) {
  QuantizationConfig config;
  if (checkpoint.config) {
    INHOUSE_ASSIGN_OR_RETURN(config, ReadQuantizationConfig(*checkpoint.config));
  }
  return MatrixFinder(checkpoint, std::move(config));
}

bool MatrixFinder::Has(std::string_view module) const {
  for (const std::string_view suffix : {"weight", "weight_packed", "qweight"}) {
    if (checkpoint_->tensors.Find(fmt::format("{}.{}", module, suffix)) != nullptr) return true;
  }
  return false;
}

absl::StatusOr<StoredMatrix> MatrixFinder::Find(std::string_view module, int64_t rows,
                                                int64_t columns) const {
  const MatrixRequest request{checkpoint_->tensors, config_, std::string(module), rows, columns};
  if (const StoredTensor* qweight = request.Find("qweight")) {
    if (config_.method == QuantMethod::kAwq) return FindAwq(request);
    if (config_.method == QuantMethod::kGptq) return FindGptq(request);
    return BadTensor(*qweight, "format", std::string(Name(config_.method)),
                     "quant_method awq or gptq in config.json");
  }
  if (request.Find("weight_packed") != nullptr) return FindPacked(request);
  return FindWeight(request);
}

}  // namespace inhouse::engine
