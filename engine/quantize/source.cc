#include "engine/quantize/source.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "engine/formats/matrix_finder.h"
#include "engine/kernels/kernel_table.h"
#include "engine/quantize/gguf_source.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Layers in the order of their numbers: "model.layers.10." after "model.layers.9.".
std::pair<std::string, std::string> NaturalKey(const std::string& name) {
  std::string key;
  for (size_t i = 0; i < name.size();) {
    size_t end = i;
    while (end < name.size() && name[end] >= '0' && name[end] <= '9') ++end;
    if (end == i) {
      key += name[i++];
    } else {
      key += std::string(end - i < 12 ? 12 - (end - i) : 0, '0') + name.substr(i, end - i);
      i = end;
    }
  }
  return {std::move(key), name};
}

bool HasFloatValue(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 ||
         dtype == DType::kBF16;
}

// "a.b" of "a.b.weight", "a.b.weight_packed" and "a.b.qweight"; else "".
std::string ModuleOf(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return "";
  const std::string kind = name.substr(dot + 1);
  const bool weights = kind == "weight" || kind == "weight_packed" || kind == "qweight";
  return weights ? name.substr(0, dot) : "";
}

// Scales, zero points, shapes and indices, which belong to the codes of the same module.
bool IsPartOfMatrix(const TensorTable& tensors, const std::string& name) {
  constexpr std::string_view kParts[] = {
      "weight_scale_inv", "weight_scale", "scale",  "weight_shape", "weight_zero_point",
      "weight_g_idx",     "input_scale",  "scales", "qzeros",       "g_idx"};
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return false;
  const std::string_view kind = std::string_view(name).substr(dot + 1);
  if (std::find(std::begin(kParts), std::end(kParts), kind) == std::end(kParts)) return false;
  for (const char* codes : {"weight", "weight_packed", "qweight"}) {
    const StoredTensor* found = tensors.Find(name.substr(0, dot + 1) + codes);
    if (found != nullptr && !HasFloatValue(found->view.dtype)) return true;
  }
  return false;
}

// Rows and columns of the weights whose codes stand in `codes`.
absl::StatusOr<Shape> MatrixShape(const Checkpoint& checkpoint, const QuantizationConfig& config,
                                  const std::string& module, const StoredTensor& codes) {
  const TensorTable& tensors = checkpoint.tensors;
  const Shape& stored = codes.view.shape;
  if (codes.name.ends_with(".weight_packed")) {
    INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* shape,
                             tensors.Require(module + ".weight_shape", {2}));
    if (shape->view.dtype != DType::kI64) {
      return base::InvalidInput({.file = shape->file->path(),
                                 .field = shape->name,
                                 .value = std::string(Name(shape->view.dtype)),
                                 .expected = "I64"});
    }
    Shape out(2);
    std::memcpy(out.data(), shape->view.bytes.data(), 2 * sizeof(int64_t));
    return out;
  }
  if (!codes.name.ends_with(".qweight")) return stored;
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* scales, tensors.Require(module + ".scales"));
  const int64_t per_word = config.method == QuantMethod::kGptq ? 32 / config.bits : 1;
  return Shape{scales->view.columns(), stored[0] * per_word};
}

}  // namespace

int64_t SourceTensor::stored_bytes() const {
  return matrix ? matrix->stored_bytes() : static_cast<int64_t>(stored->view.bytes.size());
}

std::string SourceTensor::module() const {
  constexpr std::string_view kWeight = ".weight";
  return name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : "";
}

absl::StatusOr<std::unique_ptr<Source>> Source::Open(const Checkpoint& checkpoint) {
  std::unique_ptr<Source> source(new Source(checkpoint));
  INHOUSE_RETURN_IF_ERROR(checkpoint.gguf ? source->ReadGgufFile() : source->ReadDirectory());
  std::sort(source->tensors_.begin(), source->tensors_.end(),
            [](const auto& a, const auto& b) { return NaturalKey(a.name) < NaturalKey(b.name); });
  return source;
}

absl::Status Source::ReadDirectory() {
  if (!checkpoint_.config) {
    return base::InvalidInput(
        {.file = checkpoint_.path, .expected = "a directory with config.json, or a .gguf file"});
  }
  config_ = checkpoint_.config->json();
  config_.erase("quantization_config");
  config_.erase("compression_config");
  INHOUSE_ASSIGN_OR_RETURN(const MatrixFinder finder, MatrixFinder::Create(checkpoint_));
  for (const auto& [name, tensor] : checkpoint_.tensors.tensors()) {
    if (IsPartOfMatrix(checkpoint_.tensors, name)) continue;
    SourceTensor out{.name = name, .shape = tensor.view.shape, .stored = &tensor};
    const std::string module = ModuleOf(name);
    if (!module.empty() && tensor.view.shape.size() == 2) {
      INHOUSE_ASSIGN_OR_RETURN(out.shape,
                               MatrixShape(checkpoint_, finder.config(), module, tensor));
      INHOUSE_ASSIGN_OR_RETURN(out.matrix, finder.Find(module, out.shape[0], out.shape[1]));
      out.name = module + ".weight";
    } else if (tensor.view.shape.size() == 2 && HasFloatValue(tensor.view.dtype)) {
      out.matrix = StoredMatrix(tensor);
    }
    tensors_.push_back(std::move(out));
  }
  return absl::OkStatus();
}

absl::Status Source::ReadGgufFile() {
  INHOUSE_ASSIGN_OR_RETURN(const GgufModel model, ReadGgufModel(checkpoint_));
  config_ = model.config;
  for (const auto& [name, tensor] : checkpoint_.tensors.tensors()) {
    INHOUSE_ASSIGN_OR_RETURN(std::optional<SourceTensor> found, model.Translate(tensor));
    if (found) tensors_.push_back(*std::move(found));
  }
  return absl::OkStatus();
}

void Source::ReadRows(const SourceTensor& tensor, int64_t begin, int64_t n, float* out) const {
  const int64_t columns = tensor.columns();
  if (tensor.matrix) {
    const StoredMatrix& matrix = *tensor.matrix;
    const bool ordered = tensor.row_order.empty();
    std::vector<std::byte> staging(matrix.assembled() ? static_cast<size_t>(matrix.row_bytes() * n)
                                                      : 0);
    std::vector<const std::byte*> rows(static_cast<size_t>(n));
    if (ordered) matrix.Rows(begin, n, staging.data(), rows.data());
    for (int64_t i = 0; i < n; ++i) {
      const std::byte* row =
          ordered ? rows[static_cast<size_t>(i)]
                  : matrix.Row(tensor.row_order[static_cast<size_t>(begin + i)], staging.data());
      DequantizeRow(matrix.dtype(), row, columns, out + i * columns);
    }
    return;
  }
  const TensorView& view = tensor.stored->view;
  for (int64_t i = 0; i < n; ++i) {
    DequantizeRow(view.dtype, view.row(begin + i), columns, out + i * columns);
  }
  if (tensor.row_order.empty()) return;
  const std::vector<float> stored(out, out + columns);
  for (size_t i = 0; i < stored.size(); ++i) {
    out[i] = stored[static_cast<size_t>(tensor.row_order[i])];
  }
}

void Source::Release(const SourceTensor& tensor) const {
  const auto release = [](const StoredTensor& stored) {
    stored.file->DontNeed(stored.file_offset, stored.view.bytes.size());
  };
  if (!tensor.matrix) return release(*tensor.stored);
  for (const StoredTensor* stored : tensor.matrix->tensors()) release(*stored);
}

}  // namespace inhouse::engine
