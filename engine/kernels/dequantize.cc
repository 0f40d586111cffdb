// DequantizeRow: the exact value of every code of every stored type.
#include <bit>
#include <cstring>

#include "base/check.h"
#include "engine/kernels/dequantize_blocks.h"
#include "engine/kernels/kernel_table.h"
#include "engine/tensor/float16.h"
#include "engine/tensor/float8.h"

namespace inhouse::engine {
namespace {

// Rows in a file need not be aligned.
template <typename T>
T Load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

uint32_t Byte(const std::byte* p) { return std::to_integer<uint32_t>(*p); }

// OCP MX specification 1.0, E2M1.
constexpr float kE2M1[16] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                             -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};

template <typename Expand>
void Each(const std::byte* row, int64_t n, int64_t bytes, float* out, Expand expand) {
  for (int64_t i = 0; i < n; ++i) out[i] = expand(row + i * bytes);
}

template <int kElements, int kBytes>
void Blocks(const std::byte* row, int64_t n, float* out, void (*expand)(const std::byte*, float*)) {
  for (int64_t i = 0; i < n / kElements; ++i) expand(row + i * kBytes, out + i * kElements);
}

void DequantizeF4(const std::byte* row, int64_t n, float* out) {
  for (int64_t i = 0; i < n / 2; ++i) {
    out[2 * i] = kE2M1[Byte(row + i) & 15U];
    out[2 * i + 1] = kE2M1[Byte(row + i) >> 4];
  }
}

using Expand = float (*)(uint32_t code);
float FromI8(uint32_t code) { return static_cast<float>(static_cast<int8_t>(code)); }

// A float32 scale, then one byte a column. The last block of a row may be ragged.
template <int kColumns>
void ByteGroups(const std::byte* row, int64_t n, float* out, Expand expand) {
  for (int64_t i = 0; i < n; ++i) {
    const std::byte* block = row + i / kColumns * (4 + kColumns);
    out[i] = Load<float>(block) * expand(Byte(block + 4 + i % kColumns));
  }
}

// A float32 scale, with kMin a minimum, then nibbles: columns j and 16 + j of each 32 in a byte.
template <int kColumns, bool kMin>
void NibbleGroups(const std::byte* row, int64_t n, float* out) {
  constexpr int kCodesAt = kMin ? 8 : 4;
  for (int64_t i = 0; i < n; ++i) {
    const std::byte* block = row + i / kColumns * (kCodesAt + kColumns / 2);
    const int64_t column = i % kColumns;
    const uint32_t both = Byte(block + kCodesAt + column / 32 * 16 + column % 16);
    const auto code = static_cast<float>(both >> (column % 32 < 16 ? 0 : 4) & 15U);
    if constexpr (kMin) {
      out[i] = Load<float>(block) * code + Load<float>(block + 4);
    } else {
      out[i] = Load<float>(block) * (code - 8.0F);
    }
  }
}

}  // namespace

void DequantizeRow(DType dtype, const std::byte* row, int64_t n, float* out) {
  INHOUSE_CHECK(Info(dtype).ragged || n % Info(dtype).block_elements == 0,
                "a row must be whole blocks");
  using P = const std::byte*;
  switch (dtype) {
    case DType::kF64:
      return Each(row, n, 8, out, [](P p) { return static_cast<float>(Load<double>(p)); });
    case DType::kF32:
      std::memcpy(out, row, static_cast<size_t>(n) * sizeof(float));
      return;
    case DType::kF16:
      return Each(row, n, 2, out, [](P p) { return FromF16(Load<uint16_t>(p)); });
    case DType::kBF16:
      return Each(row, n, 2, out, [](P p) { return FromBF16(Load<uint16_t>(p)); });
    case DType::kI64:
      return Each(row, n, 8, out, [](P p) { return static_cast<float>(Load<int64_t>(p)); });
    case DType::kI32:
      return Each(row, n, 4, out, [](P p) { return static_cast<float>(Load<int32_t>(p)); });
    case DType::kI16:
      return Each(row, n, 2, out, [](P p) { return static_cast<float>(Load<int16_t>(p)); });
    case DType::kI8:
      return Each(row, n, 1, out, [](P p) { return static_cast<float>(Load<int8_t>(p)); });
    case DType::kU8:
    case DType::kBool:
      return Each(row, n, 1, out, [](P p) { return static_cast<float>(Load<uint8_t>(p)); });
    case DType::kF8E4M3:
      return Each(row, n, 1, out, [](P p) { return FromE4M3(Byte(p)); });
    case DType::kF8E5M2:  // the upper byte of an F16
      return Each(row, n, 1, out, [](P p) { return FromF16(static_cast<uint16_t>(Byte(p) << 8)); });
    case DType::kF8E8M0:
      return Each(row, n, 1, out, [](P p) { return FromE8M0(Byte(p)); });
    case DType::kF4E2M1:
      return DequantizeF4(row, n, out);
    case DType::kQ8_0:
      return Blocks<32, 34>(row, n, out, DequantizeQ8_0);
    case DType::kQ4_0:
      return Blocks<32, 18>(row, n, out, DequantizeQ4_0);
    case DType::kQ4_1:
      return Blocks<32, 20>(row, n, out, DequantizeQ4_1);
    case DType::kQ5_0:
      return Blocks<32, 22>(row, n, out, DequantizeQ5_0);
    case DType::kQ5_1:
      return Blocks<32, 24>(row, n, out, DequantizeQ5_1);
    case DType::kQ2_K:
      return Blocks<256, 84>(row, n, out, DequantizeQ2_K);
    case DType::kQ3_K:
      return Blocks<256, 110>(row, n, out, DequantizeQ3_K);
    case DType::kQ4_K:
      return Blocks<256, 144>(row, n, out, DequantizeQ4_K);
    case DType::kQ5_K:
      return Blocks<256, 176>(row, n, out, DequantizeQ5_K);
    case DType::kQ6_K:
      return Blocks<256, 210>(row, n, out, DequantizeQ6_K);
    case DType::kMXFP4:
      return Blocks<32, 17>(row, n, out, DequantizeMXFP4);
    case DType::kF8Group128:
      return ByteGroups<128>(row, n, out, FromE4M3);
    case DType::kF8Group32:
      return ByteGroups<32>(row, n, out, FromE4M3);
    case DType::kI8Group128:
      return ByteGroups<128>(row, n, out, FromI8);
    case DType::kI8Group32:
      return ByteGroups<32>(row, n, out, FromI8);
    case DType::kI4Group128:
      return NibbleGroups<128, false>(row, n, out);
    case DType::kI4Group32:
      return NibbleGroups<32, false>(row, n, out);
    case DType::kI4MinGroup128:
      return NibbleGroups<128, true>(row, n, out);
    case DType::kI4MinGroup32:
      return NibbleGroups<32, true>(row, n, out);
  }
}

}  // namespace inhouse::engine
