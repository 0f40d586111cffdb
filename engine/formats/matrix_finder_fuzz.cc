// A `quantization_config` from outside beside tensors of all formats, in shapes that fit some of
// them: whatever it says, a matrix is found and its rows are assembled, or it is refused.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/formats/matrix_finder.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kRows = 16;
constexpr int64_t kColumns = 160;

struct Spec {
  const char* name;
  DType dtype;
  Shape shape;
};

// Module a: FP8; b: INT8; c: packed INT4; d: MXFP4; e: AWQ; f: GPTQ; g: FP4 of V4.
const std::vector<Spec>& Specs() {
  static const auto& specs = *new std::vector<Spec>{
      {"a.weight", DType::kF8E4M3, {16, 160}},
      {"a.weight_scale_inv", DType::kF32, {1, 2}},
      {"b.weight", DType::kI8, {16, 160}},
      {"b.weight_scale", DType::kBF16, {16, 1}},
      {"b.weight_zero_point", DType::kI8, {16, 1}},
      {"c.weight_packed", DType::kI32, {16, 20}},
      {"c.weight_scale", DType::kF16, {16, 5}},
      {"c.weight_zero_point", DType::kI32, {2, 5}},
      {"c.weight_g_idx", DType::kI32, {160}},
      {"d.weight_packed", DType::kU8, {16, 80}},
      {"d.weight_scale", DType::kU8, {16, 5}},
      {"e.qweight", DType::kI32, {160, 2}},
      {"e.qzeros", DType::kI32, {5, 2}},
      {"e.scales", DType::kF16, {5, 16}},
      {"f.qweight", DType::kI32, {20, 16}},
      {"f.qzeros", DType::kI32, {5, 2}},
      {"f.scales", DType::kF16, {5, 16}},
      {"f.g_idx", DType::kI32, {160}},
      {"g.weight", DType::kI8, {16, 80}},
      {"g.scale", DType::kF8E8M0, {16, 5}},
  };
  return specs;
}

void Try(std::string_view section, std::byte content) {
  auto config =
      ConfigJson::Parse("config.json", fmt::format("{{\"quantization_config\": {}}}", section));
  if (!config.ok()) return;
  Checkpoint checkpoint;
  checkpoint.config = *std::move(config);
  const std::vector<std::byte> data(16 * 160, content);
  for (const Spec& spec : Specs()) {
    const auto bytes = static_cast<size_t>(ElementCount(spec.shape) * Info(spec.dtype).block_bytes);
    (void)checkpoint.tensors.Add(
        {.name = spec.name, .view = {spec.dtype, spec.shape, {data.data(), bytes}}});
  }
  const auto finder = MatrixFinder::Create(checkpoint);
  if (!finder.ok()) return;
  for (const char* module : {"a", "b", "c", "d", "e", "f", "g"}) {
    const auto matrix = finder->Find(module, kRows, kColumns);
    if (!matrix.ok()) continue;
    std::vector<std::byte> staging(static_cast<size_t>(kRows * matrix->row_bytes()));
    std::array<const std::byte*, kRows> rows;
    matrix->Rows(0, kRows, staging.data(), rows.data());
    matrix->Row(kRows - 1, staging.data());
  }
}

}  // namespace
}  // namespace inhouse::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  inhouse::engine::Try({reinterpret_cast<const char*>(data) + 1, size - 1}, std::byte{data[0]});
  return 0;
}
