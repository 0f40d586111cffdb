#include "engine/formats/quantization_config.h"

#include <string>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

QuantizationConfig Read(const std::string& text) {
  const auto json = ConfigJson::Parse("config.json", text);
  EXPECT_TRUE(json.ok()) << json.status();
  auto config = ReadQuantizationConfig(*json);
  EXPECT_TRUE(config.ok()) << config.status();
  return *std::move(config);
}

TEST(QuantizationConfigTest, NoSectionIsNone) {
  EXPECT_EQ(Read("{}").method, QuantMethod::kNone);
  EXPECT_EQ(Read(R"({"quantization_config": null})").method, QuantMethod::kNone);
}

TEST(QuantizationConfigTest, GroupsTargetModules) {
  const QuantizationConfig config = Read(R"({"compression_config": {
    "quant_method": "compressed-tensors", "format": "mixed-precision",
    "config_groups": {
      "group_0": {"targets": ["Linear"], "format": "float-quantized",
                  "weights": {"num_bits": 8, "type": "float", "strategy": "channel"}},
      "group_1": {"targets": ["re:.*down_proj$", "model.layers.0.mlp.up_proj"],
                  "format": "pack-quantized",
                  "weights": {"num_bits": 4, "group_size": 64, "symmetric": false}},
      "group_2": {"targets": ["re:.*k_proj"], "weights": null}},
    "ignore": ["lm_head", "re:.*layers\\.3\\.(?!mlp).*"]}})");
  EXPECT_EQ(config.method, QuantMethod::kCompressedTensors);
  EXPECT_EQ(config.field, "compression_config");
  const auto format = [&config](const char* module) -> std::string {
    const CompressedScheme* scheme = config.SchemeOf(module);
    return scheme == nullptr ? "none" : scheme->format;
  };
  EXPECT_EQ(format("model.layers.0.mlp.gate_proj"), "float-quantized");
  EXPECT_EQ(format("model.layers.0.mlp.up_proj"), "pack-quantized");
  EXPECT_EQ(format("model.layers.1.mlp.up_proj"), "float-quantized");
  EXPECT_EQ(format("model.layers.7.mlp.down_proj"), "pack-quantized");
  EXPECT_EQ(format("model.layers.7.mlp.down_proj.x"), "float-quantized");
  EXPECT_EQ(format("lm_head"), "none");
  EXPECT_EQ(format("model.layers.3.self_attn.q_proj"), "none");
  EXPECT_EQ(format("model.layers.3.mlp.up_proj"), "float-quantized");
  const CompressedScheme& scheme = *config.SchemeOf("a.down_proj");
  EXPECT_EQ(scheme.bits, 4);
  EXPECT_FALSE(scheme.symmetric);
  EXPECT_EQ(scheme.strategy, ScaleStrategy::kGroup);
  EXPECT_EQ(scheme.group_columns, 64);
}

// A pattern that backtracks without end gives up rather than hang.
TEST(QuantizationConfigTest, AnEvilPatternEnds) {
  const QuantizationConfig config = Read(R"({"quantization_config": {
    "quant_method": "compressed-tensors", "config_groups": {}, "ignore": ["re:(a+)+$"]}})");
  EXPECT_FALSE(config.ignore.Matches(std::string(60, 'a').append("b")));
  EXPECT_TRUE(config.ignore.Matches("aaaa"));
}

TEST(QuantizationConfigTest, KeptModules) {
  const QuantizationConfig config = Read(R"({"quantization_config": {
    "quant_method": "fp8", "modules_to_not_convert": ["lm_head", "model.layers.1"],
    "ignored_layers": ["o_proj"]}})");
  EXPECT_TRUE(config.Keeps("lm_head"));
  EXPECT_TRUE(config.Keeps("model.layers.1.mlp.up_proj"));
  EXPECT_FALSE(config.Keeps("model.layers.11.mlp.up_proj"));
  EXPECT_TRUE(config.Keeps("model.layers.2.self_attn.o_proj"));
  EXPECT_FALSE(config.weight_block.has_value());
}

}  // namespace
}  // namespace inhouse::engine
