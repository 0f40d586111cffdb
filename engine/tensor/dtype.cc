#include "engine/tensor/dtype.h"

#include <array>
#include <utility>

#include "base/check.h"

namespace inhouse::engine {
namespace {

// In the order of DType.
constexpr std::array<DTypeInfo, kDTypeCount> kInfo = {{
    {"F64", 1, 8},
    {"F32", 1, 4},
    {"F16", 1, 2},
    {"BF16", 1, 2},
    {"I64", 1, 8},
    {"I32", 1, 4},
    {"I16", 1, 2},
    {"I8", 1, 1},
    {"U8", 1, 1},
    {"BOOL", 1, 1},
    {"F8_E4M3", 1, 1},
    {"F8_E5M2", 1, 1},
    {"F8_E8M0", 1, 1},
    {"F4", 2, 1},
    {"Q8_0", 32, 34},
    {"Q4_0", 32, 18},
    {"Q4_1", 32, 20},
    {"Q5_0", 32, 22},
    {"Q5_1", 32, 24},
    {"Q2_K", 256, 84},
    {"Q3_K", 256, 110},
    {"Q4_K", 256, 144},
    {"Q5_K", 256, 176},
    {"Q6_K", 256, 210},
    {"MXFP4", 32, 17},
    {"F8_G128", 128, 132, true},
    {"F8_G32", 32, 36, true},
    {"I8_G128", 128, 132, true},
    {"I8_G32", 32, 36, true},
    {"I4_G128", 128, 68, true},
    {"I4_G32", 32, 20, true},
    {"I4M_G128", 128, 72, true},
    {"I4M_G32", 32, 24, true},
}};

// ggml.h, enum ggml_type.
constexpr std::array<std::pair<uint32_t, DType>, 19> kGgml = {{
    {0, DType::kF32},   {1, DType::kF16},   {2, DType::kQ4_0},   {3, DType::kQ4_1},
    {6, DType::kQ5_0},  {7, DType::kQ5_1},  {8, DType::kQ8_0},   {10, DType::kQ2_K},
    {11, DType::kQ3_K}, {12, DType::kQ4_K}, {13, DType::kQ5_K},  {14, DType::kQ6_K},
    {24, DType::kI8},   {25, DType::kI16},  {26, DType::kI32},   {27, DType::kI64},
    {28, DType::kF64},  {30, DType::kBF16}, {39, DType::kMXFP4},
}};

}  // namespace

const DTypeInfo& Info(DType dtype) { return kInfo[static_cast<size_t>(dtype)]; }

int64_t RowBytes(DType dtype, int64_t elements) {
  const DTypeInfo& info = Info(dtype);
  INHOUSE_CHECK(info.ragged || elements % info.block_elements == 0, "a row must be whole blocks");
  return (elements + info.block_elements - 1) / info.block_elements * info.block_bytes;
}

std::optional<DType> FromSafetensorsName(std::string_view name) {
  for (size_t i = 0; i <= static_cast<size_t>(DType::kF4E2M1); ++i) {
    if (kInfo[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::optional<DType> FromGgmlType(uint32_t type) {
  for (const auto& [number, dtype] : kGgml) {
    if (number == type) return dtype;
  }
  return std::nullopt;
}

}  // namespace inhouse::engine
