// FP8, INT8 and FP4 with their scales in a tensor beside them.
#include "engine/formats/matrix_test.h"

namespace inhouse::engine {
namespace {

constexpr const char* kFp8 = R"({"quant_method": "fp8", "weight_block_size": [128, 128]})";

std::string Compressed(const std::string& format, const std::string& weights) {
  return fmt::format(
      R"({{"quant_method": "compressed-tensors", "format": "{}", "config_groups": {{"group_0":
          {{"targets": ["Linear"], "weights": {{{}}}}}}}, "ignore": ["lm_head"]}})",
      format, weights);
}

float E4M3(int code) { return FromE4M3(static_cast<uint32_t>(code)); }

class ScaledBytesTest : public MatrixTest {};

// Rows and columns that are no multiples of the block; every code, NaN among them.
TEST_F(ScaledBytesTest, DeepSeekBlocks) {
  const Grid<int> codes = RandomCodes(200, 328, 255, 1);
  const Grid<float> scales = RandomScales(2, 3, 2);
  Add("weight", "F8_E4M3", codes, AsBytes(codes));
  Add("weight_scale_inv", "F32", scales, Bytes(scales.at));
  Expect(kFp8, DType::kF8Group128, 200, 328,
         [&](int64_t r, int64_t c) { return scales(r / 128, c / 128) * E4M3(codes(r, c)); });
}

TEST_F(ScaledBytesTest, OtherBlocksAndScaleTypes) {
  const Grid<int> codes = RandomCodes(70, 96, 255, 3);
  for (const int64_t block : {32, 64, 48, 20}) {
    const int64_t down = (70 + block - 1) / block;
    const Grid<float> scales = RandomScales(down, (96 + block - 1) / block, 4);
    Clear();
    Add("weight", "F8_E4M3", codes, AsBytes(codes));
    Add("weight_scale_inv", "BF16", scales, AsBF16(scales));
    // 48 and 20 are no whole blocks of 32 columns: floats hold them.
    Expect(fmt::format(R"({{"quant_method": "fp8", "weight_block_size": [{}, {}]}})", block, block),
           block % 32 == 0 ? DType::kF8Group32 : DType::kF32, 70, 96,
           [&](int64_t r, int64_t c) { return scales(r / block, c / block) * E4M3(codes(r, c)); });
  }
}

// Scales that are zero, NaN or infinite stay what they are.
TEST_F(ScaledBytesTest, OddScales) {
  const Grid<int> codes = RandomCodes(4, 128, 255, 5);
  for (const float scale : {0.0F, -1.0F, std::nanf(""), INFINITY, 1e-45F}) {
    Clear();
    Add("weight", "F8_E4M3", codes, AsBytes(codes));
    Add("weight_scale_inv", "F32", "[1,1]", Bytes(std::vector<float>{scale}));
    Expect(kFp8, DType::kF8Group128, 4, 128,
           [&](int64_t r, int64_t c) { return scale * E4M3(codes(r, c)); });
  }
}

// V4: E8M0 scales called "scale", of blocks that the shape tells.
TEST_F(ScaledBytesTest, V4Blocks) {
  const Grid<int> codes = RandomCodes(160, 256, 255, 6);
  for (const int64_t block : {128, 32}) {
    const Grid<int> exponents = RandomCodes((160 + block - 1) / block, 256 / block, 255, 7);
    Clear();
    Add("weight", "F8_E4M3", codes, AsBytes(codes));
    Add("scale", "F8_E8M0", exponents, AsBytes(exponents));
    Expect(kFp8, block == 128 ? DType::kF8Group128 : DType::kF8Group32, 160, 256,
           [&](int64_t r, int64_t c) {
             return FromE8M0(static_cast<uint32_t>(exponents(r / block, c / block))) *
                    E4M3(codes(r, c));
           });
  }
}

// V4's experts: two codes a byte, low nibble first.
TEST_F(ScaledBytesTest, V4Fp4) {
  constexpr float kE2M1[16] = {0,     0.5F,  1,     1.5F,  2,     3,     4,     6,
                               -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};
  const Grid<int> codes = RandomCodes(24, 96, 15, 8);
  const Grid<int> exponents = RandomCodes(24, 3, 254, 9);
  const auto value = [&](int64_t r, int64_t c) {
    return FromE8M0(static_cast<uint32_t>(exponents(r, c / 32))) * kE2M1[codes(r, c)];
  };
  std::string packed;
  for (size_t i = 0; i < codes.at.size(); i += 2) {
    packed.push_back(static_cast<char>(codes.at[i] | codes.at[i + 1] << 4));
  }
  for (const char* type : {"I8", "U8", "F4"}) {
    Clear();
    Add("weight", type, type == std::string("F4") ? "[24,96]" : "[24,48]", packed);
    Add("scale", "F8_E8M0", exponents, AsBytes(exponents));
    Expect(kFp8, DType::kMXFP4, 24, 96, value);
  }
  Clear();
  Add("weight_packed", "U8", "[24,48]", packed);
  Add("weight_scale", "U8", exponents, AsBytes(exponents));
  Expect(Compressed("mxfp4-pack-quantized",
                    R"("num_bits": 4, "type": "float", "strategy": "group", "group_size": 32)"),
         DType::kMXFP4, 24, 96, value);
}

// One scale for the matrix or for a row, as a scalar, a list or a matrix.
TEST_F(ScaledBytesTest, TensorAndChannelScales) {
  const Grid<int> codes = RandomCodes(10, 200, 255, 10);
  const Grid<float> one = RandomScales(1, 1, 11);
  const Grid<float> each = RandomScales(10, 1, 12);
  struct Case {
    const char* shape;
    bool channel;
  };
  for (const Case& test :
       {Case{"[]", false}, {"[1]", false}, {"[1,1]", false}, {"[10,1]", true}, {"[10]", true}}) {
    const Grid<float>& scales = test.channel ? each : one;
    const auto value = [&](int64_t r, int64_t c) {
      return scales(test.channel ? r : 0, 0) * E4M3(codes(r, c));
    };
    Clear();
    Add("weight", "F8_E4M3", codes, AsBytes(codes));
    Add("weight_scale", "BF16", test.shape, AsBF16(scales));
    Expect(Compressed("float-quantized",
                      fmt::format(R"("num_bits": 8, "type": "float", "strategy": "{}")",
                                  test.channel ? "channel" : "tensor")),
           DType::kF8Group128, 10, 200, value);
    Expect(R"({"quant_method": "fp8", "activation_scheme": "static"})", DType::kF8Group128, 10, 200,
           value);
  }
}

TEST_F(ScaledBytesTest, CompressedTensorsBlocks) {
  const Grid<int> codes = RandomCodes(130, 256, 255, 13);
  const Grid<float> scales = RandomScales(2, 2, 14);
  Add("weight", "F8_E4M3", codes, AsBytes(codes));
  Add("weight_scale", "F32", scales, Bytes(scales.at));
  for (const char* block : {"[128, 128]", "\"128x128\""}) {
    Expect(Compressed("float-quantized",
                      fmt::format(R"("num_bits": 8, "type": "float", "strategy": "block",
                                      "block_structure": {})",
                                  block)),
           DType::kF8Group128, 130, 256,
           [&](int64_t r, int64_t c) { return scales(r / 128, c / 128) * E4M3(codes(r, c)); });
  }
}

TEST_F(ScaledBytesTest, Int8) {
  const Grid<int> codes = RandomCodes(12, 150, 255, 15);
  const Grid<float> scales = RandomScales(12, 1, 16);
  const auto code = [&](int64_t r, int64_t c) {
    return static_cast<float>(static_cast<int8_t>(codes(r, c)));
  };
  Add("weight", "I8", codes, AsBytes(codes));
  Add("weight_scale", "F32", scales, Bytes(scales.at));
  Expect(Compressed("int-quantized", R"("num_bits": 8, "type": "int", "strategy": "channel")"),
         DType::kI8Group128, 12, 150,
         [&](int64_t r, int64_t c) { return scales(r, 0) * code(r, c); });
  // With zero points a difference may take nine bits.
  const Grid<int> zeros = RandomCodes(12, 1, 255, 17);
  Add("weight_zero_point", "I8", zeros, AsBytes(zeros));
  Expect(Compressed("int-quantized",
                    R"("num_bits": 8, "type": "int", "strategy": "channel", "symmetric": false)"),
         DType::kF32, 12, 150, [&](int64_t r, int64_t c) {
           return scales(r, 0) *
                  (code(r, c) - static_cast<float>(static_cast<int8_t>(zeros(r, 0))));
         });
}

// A module that is left alone, and one whose quantization was never finished.
TEST_F(ScaledBytesTest, PlainWeights) {
  const Grid<float> values = RandomScales(3, 20, 18);
  Add("weight", "F32", values, Bytes(values.at));
  const auto value = [&](int64_t r, int64_t c) { return values(r, c); };
  Expect("", DType::kF32, 3, 20, value);
  Expect(kFp8, DType::kF32, 3, 20, value);
  Expect(R"({"quant_method": "compressed-tensors", "config_groups": {}})", DType::kF32, 3, 20,
         value);
}

}  // namespace
}  // namespace inhouse::engine
