// Quantized matrices that are not what config.json says: what is wrong is said, with file, tensor
// or field, value and expectation.
#include "engine/formats/matrix_test.h"

namespace inhouse::engine {
namespace {

class MatrixHostileTest : public MatrixTest {
 protected:
  // [4, 256] in every format that the tests need, all bytes zero.
  void AddZeros(const std::string& name, const std::string& type, const std::string& shape,
                size_t bytes) {
    Add(name, type, shape, std::string(bytes, '\0'));
  }
  void RefuseTensor(const std::string& quantization, const std::string& text) {
    Refuse(quantization, 16, 256, dir_ + "/model.safetensors", text);
  }
  void RefuseConfig(const std::string& quantization, const std::string& text) {
    Refuse(quantization, 16, 256, dir_ + "/config.json", text);
  }
  static std::string Group(const std::string& weights, const std::string& format) {
    return fmt::format(
        R"({{"quant_method": "compressed-tensors", "format": "{}", "config_groups":
            {{"g": {{"targets": ["Linear"], "weights": {{{}}}}}}}}})",
        format, weights);
  }
};

constexpr const char* kFp8 = R"({"quant_method": "fp8", "weight_block_size": [128, 128]})";
constexpr const char* kPlain = R"({"quant_method": "fp8"})";
constexpr const char* kInt4 =
    R"("num_bits": 4, "type": "int", "strategy": "group", "group_size": 128)";
constexpr const char* kAsymmetric =
    R"("num_bits": 4, "strategy": "group", "group_size": 128, "symmetric": false)";
constexpr const char* kAwq = R"({"quant_method": "awq", "bits": 4, "group_size": 128})";
constexpr const char* kGptq = R"({"quant_method": "gptq", "bits": 4, "group_size": 128})";

TEST_F(MatrixHostileTest, Fp8) {
  RefuseTensor(kFp8, "tensor 'm.weight': expected to be there");
  AddZeros("weight", "F8_E4M3", "[16,256]", 16 * 256);
  RefuseTensor(kFp8, "tensor 'm.weight_scale_inv': expected to be there");
  RefuseTensor(R"({"quant_method": "fp8", "modules_to_not_convert": ["n"]})", "m.weight_scale_inv");
  AddZeros("weight_scale_inv", "F32", "[2,1]", 8);
  RefuseTensor(kFp8, "shape: value '[2, 1]': expected [1, 2] for blocks of 128 x 128");
  RefuseTensor(kPlain, "shape: value '[2, 1]': expected [1, 1] for blocks of 16 x 256, or [16, 1]");
  Clear();
  AddZeros("weight", "F8_E4M3", "[256,16]", 16 * 256);
  AddZeros("weight_scale_inv", "F32", "[1,2]", 8);
  RefuseTensor(kFp8, "tensor 'm.weight': shape: value '[256, 16]': expected [16, 256]");
  Clear();
  AddZeros("weight", "F8_E4M3", "[16,256]", 16 * 256);
  AddZeros("weight_scale_inv", "I32", "[1,2]", 8);
  RefuseTensor(kFp8, "type: value 'I32': expected F32 or F16 or BF16 or F8_E8M0");
  Clear();
  AddZeros("weight", "I32", "[16,256]", 4 * 16 * 256);
  AddZeros("weight_scale_inv", "F32", "[1,2]", 8);
  const absl::StatusOr<StoredMatrix> integers = Find(kFp8, 16, 256);
  ASSERT_TRUE(integers.ok());  // as it stands; no kernel multiplies by it, which ops/ says
  EXPECT_EQ(integers->dtype(), DType::kI32);
}

TEST_F(MatrixHostileTest, Fp4) {
  AddZeros("weight", "I8", "[16,256]", 16 * 256);
  AddZeros("scale", "F8_E8M0", "[16,8]", 128);
  RefuseTensor(kFp8, "tensor 'm.weight': shape: value '[16, 256]': expected [16, 128]");
  Clear();
  AddZeros("weight", "I8", "[16,128]", 16 * 128);
  AddZeros("scale", "F8_E8M0", "[16,4]", 64);
  RefuseTensor(kFp8, "tensor 'm.scale': shape: value '[16, 4]': expected [16, 8]");
  Refuse(kFp8, 16, 250, "model.safetensors", "columns: value '250': expected a multiple of 32");
}

TEST_F(MatrixHostileTest, CompressedTensors) {
  AddZeros("weight_packed", "I32", "[16,32]", 16 * 128);
  RefuseTensor(Group(kInt4, "pack-quantized"), "m.weight_scale");
  AddZeros("weight_scale", "F32", "[16,1]", 64);
  RefuseTensor(Group(kInt4, "pack-quantized"), "shape: value '[16, 1]': expected [16, 2]");
  RefuseTensor(Group(R"("num_bits": 8, "strategy": "channel")", "pack-quantized"),
               "tensor 'm.weight_packed': shape: value '[16, 32]': expected [16, 64]");
  RefuseTensor(R"({"quant_method": "fp8"})",
               "format: value 'fp8': expected quant_method compressed");
  RefuseConfig(Group(kInt4, "nvfp4-pack-quantized"), "format: value 'nvfp4-pack-quantized'");
  RefuseConfig(Group(R"("num_bits": 8, "type": "float")", "pack-quantized"), "value 'float'");
  RefuseConfig(R"({"quant_method": "compressed-tensors", "config_groups": {}, "ignore": ["m"]})",
               "value 'm': expected a config group that targets this module");
  Clear();
  AddZeros("weight_packed", "I32", "[16,32]", 16 * 128);
  AddZeros("weight_scale", "F32", "[16,2]", 128);
  RefuseTensor(Group(kAsymmetric, "pack-quantized"), "m.weight_zero_point");
  AddZeros("weight_zero_point", "I32", "[16,2]", 128);
  RefuseTensor(Group(kAsymmetric, "pack-quantized"), "shape: value '[16, 2]': expected [2, 2]");
  Add("weight_shape", "I64", "[2]", Bytes(std::vector<int64_t>{16, 255}));
  RefuseTensor(Group(kInt4, "pack-quantized"),
               "tensor 'm.weight_shape': content: value '[16, 255]': expected [16, 256]");
}

TEST_F(MatrixHostileTest, CompressedBytes) {
  AddZeros("weight", "I8", "[16,256]", 16 * 256);
  AddZeros("weight_scale", "F32", "[16,1]", 64);
  const char* weights = R"("num_bits": 8, "strategy": "channel", "symmetric": false)";
  RefuseTensor(Group(weights, "int-quantized"), "m.weight_zero_point");
  RefuseTensor(Group(R"("num_bits": 8)", "int-quantized"),
               "shape: value '[16, 1]': expected [1, 1]");
  RefuseConfig(Group(kInt4, "int-quantized"), "value 'int 4 bits': expected a group of 8-bit");
  RefuseTensor(R"({"quant_method": "compressed-tensors", "config_groups": {}, "ignore": ["re:m"]})",
               "type: value 'I8': expected a floating type");
}

TEST_F(MatrixHostileTest, GroupIndices) {
  AddZeros("weight_packed", "I32", "[16,32]", 16 * 128);
  AddZeros("weight_scale", "F32", "[16,2]", 128);
  std::vector<int32_t> indices(256, 1);
  indices[200] = 2;
  Add("weight_g_idx", "I32", "[256]", Bytes(indices));
  RefuseTensor(Group(kInt4, "pack-quantized"),
               "tensor 'm.weight_g_idx': element 200: value '2': expected a group from 0 to 1");
}

TEST_F(MatrixHostileTest, AwqAndGptq) {
  AddZeros("qweight", "I32", "[256,2]", 2048);
  AddZeros("qzeros", "I32", "[2,2]", 16);
  RefuseTensor(kAwq, "m.scales");
  AddZeros("scales", "F16", "[2,16]", 64);
  EXPECT_TRUE(Find(kAwq, 16, 256).ok());
  RefuseTensor("", "format: value 'none': expected quant_method awq or gptq");
  RefuseTensor(kGptq, "tensor 'm.qweight': shape: value '[256, 2]': expected [32, 16]");
  RefuseTensor(R"({"quant_method": "awq", "group_size": 64})",
               "shape: value '[2, 2]': expected [4, 2]");
  RefuseTensor(R"({"quant_method": "awq", "group_size": -1})",
               "shape: value '[2, 2]': expected [1, 2]");
  Refuse(kAwq, 12, 256, "config.json", "'12 outputs': expected a multiple of 8");
  Clear();
  AddZeros("qweight", "I32", "[32,16]", 2048);
  AddZeros("qzeros", "I32", "[2,2]", 16);
  AddZeros("scales", "I32", "[2,16]", 128);
  RefuseTensor(kGptq, "tensor 'm.scales': type: value 'I32'");
}

TEST_F(MatrixHostileTest, ConfigFields) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"bits": 4})", "quantization_config.quant_method: expected a string, it is missing"},
      {R"({"quant_method": "bitsandbytes"})",
       "quantization_config.quant_method: value 'bitsandbytes': expected fp8, compressed-tensors, "
       "awq or"},
      {R"({"quant_method": "fp8", "fmt": "e5m2"})", "fmt: value 'e5m2': expected e4m3"},
      {R"({"quant_method": "fp8", "weight_block_size": [128]})", "expected [rows, columns]"},
      {R"({"quant_method": "fp8", "weight_block_size": [128, 0]})", "weight_block_size[1]"},
      {R"({"quant_method": "fp8", "weight_block_size": [128, -4]})", "weight_block_size[1]"},
      {R"({"quant_method": "fp8", "modules_to_not_convert": [7]})", "expected strings in the list"},
      {R"({"quant_method": "awq", "bits": 3})", "bits: value '3': expected 4"},
      {R"({"quant_method": "awq", "version": "gemv"})", "version: value 'gemv': expected gemm"},
      {R"({"quant_method": "awq", "group_size": 0})",
       "group_size: value '0': expected -1 (a whole row)"},
      {R"({"quant_method": "gptq"})", "quantization_config.bits: expected an integer"},
      {R"({"quant_method": "gptq", "bits": 5})", "bits: value '5': expected 2, 3, 4 or 8"},
      {R"({"quant_method": "gptq", "bits": 4, "group_size": -2})", "group_size: value '-2'"},
      {R"({"quant_method": "gptq", "bits": 4, "group_size": 1e12})", "group_size"},
      {R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"})",
       "checkpoint_format: value 'marlin': expected gptq or gptq_v2"},
      {R"({"quant_method": "compressed-tensors"})", "config_groups: expected an object of groups"},
      {R"({"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-24-bitmask"}})",
       "sparsity_config.format: value 'sparse-24-bitmask': expected dense"},
      {R"({"quant_method": "compressed-tensors", "config_groups": {},
           "transform_config": {"config_groups": {"R4": {}}}})",
       "transform_config.config_groups: value 'R4': expected none"},
      {R"({"quant_method": "compressed-tensors", "config_groups": {}, "ignore": ["re:(a"]})",
       "quantization_config.ignore: expected a regular expression; '(a' has at offset 2"},
  };
  for (const auto& [text, expected] : cases) RefuseConfig(text, expected);
}

TEST_F(MatrixHostileTest, GroupFields) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("num_bits": 9)", "num_bits: value '9': expected an integer from 1 to 8"},
      {R"("type": "complex")", "type: value 'complex': expected int or float"},
      {R"("strategy": "token")",
       "strategy: value 'token': expected tensor, channel, group or block"},
      {R"("strategy": "group")", "group_size: value '-1': expected a positive number"},
      {R"("strategy": "group", "group_size": 0)", "group_size: value '0'"},
      {R"("group_size": 99999999999)", "group_size"},
      {R"("strategy": "block")", "block_structure: value '0 numbers': expected [rows, columns]"},
      {R"("strategy": "block", "block_structure": "0x4")", "block_structure: value '0x4'"},
      {R"("strategy": "block", "block_structure": "128x128x1")",
       "block_structure: value '128x128x1'"},
      {R"("strategy": "block", "block_structure": [128, -1])", "block_structure[1]"},
  };
  for (const auto& [weights, expected] : cases) RefuseConfig(Group(weights, ""), expected);
}

}  // namespace
}  // namespace inhouse::engine
