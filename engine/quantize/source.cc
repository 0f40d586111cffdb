#include "engine/quantize/source.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
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

}  // namespace

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
  for (const auto& [name, tensor] : checkpoint_.tensors.tensors()) {
    tensors_.push_back({.name = name, .shape = tensor.view.shape, .stored = &tensor});
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

void Source::ReadRow(const SourceTensor& tensor, int64_t row, float* out) const {
  const TensorView& view = tensor.stored->view;
  const int64_t columns = tensor.columns();
  if (tensor.permuted_elements) {
    std::vector<float> stored(static_cast<size_t>(columns));
    DequantizeRow(view.dtype, view.row(0), columns, stored.data());
    for (size_t i = 0; i < stored.size(); ++i) {
      out[i] = stored[static_cast<size_t>(tensor.row_order[i])];
    }
    return;
  }
  const int64_t from = tensor.row_order.empty() ? row : tensor.row_order[static_cast<size_t>(row)];
  DequantizeRow(view.dtype, view.row(from), columns, out);
}

void Source::Release(const SourceTensor& tensor) const {
  tensor.stored->file->DontNeed(tensor.stored->file_offset, tensor.stored->view.bytes.size());
}

}  // namespace inhouse::engine
