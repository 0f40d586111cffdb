#include "engine/models/dense/dense_config.h"

#include <string>

#include "base/status.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

using nlohmann::json;

json Minimal() {
  return {{"model_type", "llama"},          {"hidden_size", 64},        {"intermediate_size", 96},
          {"num_hidden_layers", 2},         {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"max_position_embeddings", 512}, {"vocab_size", 256}};
}

absl::StatusOr<DenseConfig> Read(const json& config, const std::string& architecture = "llama") {
  Checkpoint checkpoint;
  checkpoint.config = ConfigJson("config.json", config);
  return ReadDenseConfig(checkpoint, architecture);
}

TEST(DenseConfigTest, FillsInDefaults) {
  const auto c = Read(Minimal());
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->head_dim, 16);
  EXPECT_EQ(c->rope.dim, 16);
  EXPECT_EQ(c->rope.theta, 10000.0);
  EXPECT_FLOAT_EQ(c->rms_norm_eps, 1e-6F);
  EXPECT_FALSE(c->qkv_bias);
  EXPECT_TRUE(Read(Minimal(), "qwen2")->qkv_bias);
  EXPECT_TRUE(Read(Minimal(), "qwen3")->qk_norm);
}

TEST(DenseConfigTest, ReadsBothSpellingsOfRope) {
  json old_style = Minimal();
  old_style["rope_theta"] = 500000.0;
  old_style["rope_scaling"] = {{"type", "llama3"},
                               {"factor", 8.0},
                               {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0},
                               {"original_max_position_embeddings", 64}};
  json new_style = Minimal();
  new_style["rope_parameters"] = old_style["rope_scaling"];
  new_style["rope_parameters"].erase("type");
  new_style["rope_parameters"]["rope_type"] = "llama3";
  new_style["rope_parameters"]["rope_theta"] = 500000.0;
  for (const json& config : {old_style, new_style}) {
    const auto c = Read(config);
    ASSERT_TRUE(c.ok()) << c.status();
    EXPECT_EQ(c->rope.theta, 500000.0);
    EXPECT_EQ(c->rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(c->rope.original_context, 64);
  }
}

TEST(DenseConfigTest, YarnIgnoresTheStrayKeyAndTakesTheFactor) {
  json config = Minimal();
  config["rope_scaling"] = {{"rope_type", "yarn"},
                            {"factor", 4.0},
                            {"original_max_position_embeddings", 32},
                            {"attn_factor", 0.8782488562869419}};
  const auto c = Read(config);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_NEAR(c->rope.attention_factor, 1.1386294, 1e-6);  // 0.1 ln 4 + 1
  config["rope_scaling"]["attention_factor"] = 1.5;
  EXPECT_EQ(Read(config)->rope.attention_factor, 1.5);
}

struct BadCase {
  const char* key;
  json value;
};

TEST(DenseConfigTest, NamesTheFieldOfEveryBadValue) {
  const BadCase cases[] = {
      {"hidden_size", nullptr},   {"hidden_size", -64},
      {"hidden_size", 1LL << 60}, {"num_hidden_layers", "two"},
      {"num_attention_heads", 0}, {"num_key_value_heads", 3},
      {"head_dim", 15},           {"vocab_size", 1e300},
      {"rms_norm_eps", -1},       {"hidden_act", "gelu"},
      {"rope_theta", 0},          {"tie_word_embeddings", "yes"},
  };
  for (const BadCase& bad : cases) {
    json config = Minimal();
    config[bad.key] = bad.value;
    const auto c = Read(config);
    ASSERT_FALSE(c.ok()) << bad.key << " " << bad.value;
    EXPECT_NE(base::Message(c.status()).find(bad.key), std::string::npos) << c.status();
    EXPECT_NE(base::Message(c.status()).find("config.json"), std::string::npos) << c.status();
  }
}

TEST(DenseConfigTest, RefusesUnknownRopeAndSlidingWindows) {
  json config = Minimal();
  config["rope_scaling"] = {{"rope_type", "longrope"}, {"factor", 2.0}};
  EXPECT_FALSE(Read(config).ok());
  config = Minimal();
  config["use_sliding_window"] = true;
  config["sliding_window"] = 128;
  EXPECT_FALSE(Read(config).ok());
  config["sliding_window"] = 512;
  EXPECT_TRUE(Read(config).ok());
}

}  // namespace
}  // namespace inhouse::engine
