#include "engine/formats/peft_adapter.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/formats/test_files.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr const char* kModule = "base_model.model.model.layers.0.mlp.up_proj";

// A config with these fields beside what every adapter has; a field may come twice, the last wins.
std::string Config(const std::string& fields = "") {
  return R"({"peft_type":"LORA","task_type":"CAUSAL_LM","r":2,"lora_alpha":8,)"
         R"("target_modules":["up_proj","q_proj"],"bias":"none","use_dora":false,)"
         R"("loftq_config":{},"modules_to_save":null)" +
         (fields.empty() ? "" : "," + fields) + "}";
}

PeftConfig Parsed(const std::string& text) {
  auto json = ConfigJson::Parse("adapter_config.json", text);
  EXPECT_TRUE(json.ok()) << json.status();
  auto config = PeftConfig::Parse(*json);
  EXPECT_TRUE(config.ok()) << config.status();
  return *std::move(config);
}

class PeftTest : public FilesTest {
 protected:
  struct Tensor {
    std::string name;
    std::string dtype;
    std::vector<int> shape;
  };

  static Tensor A(const std::string& module = kModule) {
    return {module + ".lora_A.weight", "F32", {2, 4}};
  }
  static Tensor B(const std::string& module = kModule) {
    return {module + ".lora_B.weight", "F32", {3, 2}};
  }

  static std::string Weights(const std::vector<Tensor>& tensors) {
    std::string header = "{";
    size_t end = 0;
    for (const Tensor& tensor : tensors) {
      size_t bytes = tensor.dtype == "F32" ? 4 : 2;
      for (const int n : tensor.shape) bytes *= static_cast<size_t>(n);
      if (end > 0) header += ",";
      header += Entry(tensor.name, tensor.dtype, fmt::format("[{}]", fmt::join(tensor.shape, ",")),
                      fmt::format("[{},{}]", end, end + bytes));
      end += bytes;
    }
    return Safetensors(header + "}", std::string(end, '\1'));
  }

  absl::StatusOr<std::unique_ptr<PeftAdapter>> Open(const std::string& config,
                                                    const std::vector<Tensor>& tensors) const {
    Write("adapter_config.json", config);
    Write("adapter_model.safetensors", Weights(tensors));
    return PeftAdapter::Open(dir_);
  }
  void ExpectConfigRefused(const std::string& fields, const std::string& text) const {
    ExpectRefused(Open(Config(fields), {A(), B()}).status(), "adapter_config.json", text);
  }
  void ExpectTensorsRefused(const std::vector<Tensor>& tensors, const std::string& text) const {
    ExpectRefused(Open(Config(), tensors).status(), "adapter_model.safetensors", text);
  }
};

TEST_F(PeftTest, ReadsModulesWithTheirRankAndScale) {
  const std::string q = "base_model.model.model.layers.1.self_attn.q_proj";
  const auto adapter = Open(
      Config(R"("rank_pattern":{"q_proj":1},"alpha_pattern":{"q_proj":3})"),
      {A(), B(), {q + ".lora_A.weight", "F16", {1, 5}}, {q + ".lora_B.weight", "BF16", {6, 1}}});
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const std::vector<PeftModule>& modules = (*adapter)->modules();
  ASSERT_EQ(modules.size(), 2U);
  EXPECT_EQ(modules[0].name, "model.layers.0.mlp.up_proj");
  EXPECT_EQ(modules[0].rank, 2);
  EXPECT_EQ(modules[0].scale, 4);
  EXPECT_EQ(modules[0].a->view.shape, (Shape{2, 4}));
  EXPECT_EQ(modules[0].b->view.shape, (Shape{3, 2}));
  EXPECT_EQ(modules[1].rank, 1);
  EXPECT_EQ(modules[1].scale, 3);
  EXPECT_EQ(modules[1].b->view.dtype, DType::kBF16);
  EXPECT_EQ((*adapter)->rank_max(), 2);
}

TEST_F(PeftTest, ReadsEverySpellingOfANameAndBiases) {
  const auto adapter =
      Open(Config(R"("bias":"all","lora_bias":true)"),
           {{"model.layers.0.mlp.up_proj.lora_A.default.weight", "F32", {2, 4}},
            {std::string(kModule) + ".lora_B.default.weight", "F32", {3, 2}},
            {std::string(kModule) + ".lora_B.default.bias", "F32", {3}},
            {std::string(kModule) + ".base_layer.bias", "F32", {3}},
            {"base_model.model.model.layers.0.self_attn.k_proj.bias", "F32", {7}}});
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const std::vector<PeftModule>& modules = (*adapter)->modules();
  ASSERT_EQ(modules.size(), 2U);
  EXPECT_NE(modules[0].b_bias, nullptr);
  EXPECT_NE(modules[0].bias, nullptr);
  EXPECT_EQ(modules[1].name, "model.layers.0.self_attn.k_proj");
  EXPECT_EQ(modules[1].rank, 0);
  EXPECT_NE(modules[1].bias, nullptr);
}

// alpha / sqrt(r) with the rank and the alpha of the module (PEFT 0.21, tuners/lora/layer.py).
TEST(PeftConfigTest, RankStabilizedScale) {
  const PeftConfig config =
      Parsed(Config(R"("use_rslora":true,"r":4,"rank_pattern":{"q_proj":16})"));
  EXPECT_DOUBLE_EQ(config.StrengthOf("model.layers.0.mlp.up_proj").scale, 4);
  EXPECT_DOUBLE_EQ(config.StrengthOf("model.layers.0.self_attn.q_proj").scale, 2);
}

// What Python's re gives for the same names and fields.
TEST(PeftConfigTest, TargetsAsPeftDoes) {
  const char* up = "model.layers.10.mlp.up_proj";
  EXPECT_TRUE(Parsed(Config()).Targets(up));
  EXPECT_TRUE(Parsed(Config()).Targets("up_proj"));
  EXPECT_FALSE(Parsed(Config()).Targets("model.layers.10.mlp.xup_proj"));
  EXPECT_FALSE(Parsed(Config()).Targets("model.layers.10.mlp.down_proj"));
  EXPECT_TRUE(Parsed(Config(R"("target_modules":["mlp.up_proj"])")).Targets(up));
  const auto expression = [](const std::string& text) {
    return Parsed(Config(R"("target_modules":")" + text + "\""));
  };
  EXPECT_TRUE(expression(R"(.*\\.(up|down)_proj)").Targets(up));
  EXPECT_FALSE(expression(R"(.*\\.(up|down)_pro)").Targets(up));  // the whole name
  EXPECT_FALSE(expression("up_proj").Targets(up));
  EXPECT_TRUE(expression("up_proj|model.*").Targets(up));
  EXPECT_TRUE(expression("All-Linear").Targets(up));
  EXPECT_FALSE(expression("all-linear").Targets("lm_head"));
  EXPECT_FALSE(Parsed(Config(R"("exclude_modules":["mlp.up_proj"])")).Targets(up));
  EXPECT_FALSE(Parsed(Config(R"("exclude_modules":".*10.*")")).Targets(up));
  EXPECT_TRUE(Parsed(Config(R"("exclude_modules":"10")")).Targets(up));
}

TEST(PeftConfigTest, LayersAsPeftDoes) {
  const auto targets = [](const std::string& fields, const char* module) {
    return Parsed(Config(fields)).Targets(module);
  };
  EXPECT_TRUE(targets(R"("layers_to_transform":10)", "model.layers.10.mlp.up_proj"));
  EXPECT_FALSE(targets(R"("layers_to_transform":1)", "model.layers.10.mlp.up_proj"));
  EXPECT_TRUE(targets(R"("layers_to_transform":[1,2])", "model.layers.2.mlp.up_proj"));
  EXPECT_FALSE(targets(R"("layers_to_transform":[1,2])", "model.up_proj"));
  // The first number, not that of an expert.
  EXPECT_FALSE(targets(R"("layers_to_transform":7)", "model.layers.2.mlp.experts.7.up_proj"));
  EXPECT_TRUE(targets(R"("layers_to_transform":2)", "model.layers.2.mlp.experts.7.up_proj"));
  EXPECT_TRUE(targets(R"("layers_to_transform":7,"layers_pattern":"experts")",
                      "model.layers.2.mlp.experts.7.up_proj"));
  EXPECT_FALSE(
      targets(R"("layers_to_transform":2,"layers_pattern":["h"])", "model.layers.2.mlp.up_proj"));
}

// A key matches the end of a name from a dot on, as an expression.
TEST(PeftConfigTest, PatternsMatchTheTail) {
  const PeftConfig config = Parsed(Config(
      R"("rank_pattern":{"layers.1.mlp.down_proj":6,"layers\\.[23]\\.mlp.*":5,"q_proj":3})"));
  EXPECT_EQ(config.StrengthOf("model.layers.1.mlp.down_proj").rank, 6);
  EXPECT_EQ(config.StrengthOf("model.layers.11.mlp.down_proj").rank, 2);
  EXPECT_EQ(config.StrengthOf("model.layers.3.mlp.up_proj").rank, 5);
  EXPECT_EQ(config.StrengthOf("model.layers.3.self_attn.q_proj").rank, 3);
  EXPECT_EQ(config.StrengthOf("model.layers.3.self_attn.xq_proj").rank, 2);
}

TEST_F(PeftTest, RefusesWhatItCannotCompute) {
  ExpectConfigRefused(R"("use_dora":true)", "use_dora");
  ExpectConfigRefused(R"("modules_to_save":["lm_head"])", "modules_to_save");
  ExpectConfigRefused(R"("use_future_variant":true)", "use_future_variant");
  ExpectConfigRefused(R"("trainable_token_indices":[1])", "trainable_token_indices");
  ExpectConfigRefused(R"("target_parameters":["mlp.experts.gate_up_proj"])", "target_parameters");
  ExpectConfigRefused(R"("init_lora_weights":"pissa")", "init_lora_weights");
  ExpectConfigRefused(R"("peft_type":"IA3")", "LORA");
  ExpectConfigRefused(R"("task_type":"SEQ_CLS")", "CAUSAL_LM");
  ExpectConfigRefused(R"("bias":"some")", "none, all or lora_only");
}

TEST_F(PeftTest, RefusesHostileConfigs) {
  ExpectConfigRefused(R"("r":0)", "an integer from 1 to");
  ExpectConfigRefused(R"("r":1e18)", "an integer from 1 to");
  ExpectConfigRefused(R"("lora_alpha":"8")", "a number");
  ExpectConfigRefused(R"("target_modules":[])", "at least one module");
  ExpectConfigRefused(R"("target_modules":[""])", "none of them empty");
  ExpectConfigRefused(R"("target_modules":"(")", "a regular expression");
  ExpectConfigRefused(R"("target_modules":"a.*","layers_to_transform":1)", "layers_to_transform");
  ExpectConfigRefused(R"("layers_pattern":"h")", "layers_to_transform");
  ExpectConfigRefused(R"("rank_pattern":{"q_proj":-1})", "rank_pattern.q_proj");
  ExpectConfigRefused(R"("alpha_pattern":{"(":1})", "a regular expression");
  // It would backtrack for ages; then it matches nothing, so the tensors have no target.
  ExpectTensorsRefused({}, "at least one");
  const auto status =
      Open(Config(R"("target_modules":"(?:(?:[a-z_.0-9]+)+)+X")"), {A(), B()}).status();
  ExpectRefused(status, "adapter_model.safetensors", "target_modules");
}

TEST_F(PeftTest, RefusesTensorsThatDoNotFit) {
  const std::string module = kModule;
  ExpectTensorsRefused({A()}, "lora_B is missing");
  ExpectTensorsRefused({B()}, "lora_A is missing");
  ExpectTensorsRefused({{module + ".lora_A.weight", "F32", {3, 4}}, B()}, "rank 2");
  ExpectTensorsRefused({A(), {module + ".lora_B.weight", "F32", {2, 3}}}, "[out, 2]");
  ExpectTensorsRefused({A(), {module + ".lora_B.weight", "F32", {6}}}, "a matrix");
  ExpectTensorsRefused({A(), {module + ".lora_B.weight", "F32", {0, 2}}}, "a matrix");
  ExpectTensorsRefused({A(), {module + ".lora_B.weight", "I16", {3, 2}}}, "F32, F16 or BF16");
  ExpectTensorsRefused({A(), B(), {module + ".lora_B.bias", "F32", {4}}}, "[3]");
  ExpectTensorsRefused({A(), B(), {module + ".bias", "F32", {3}}}, "bias = none");
  ExpectTensorsRefused({A(), B(), {module + ".lora_A.default.weight", "F32", {2, 4}}}, "another");
  ExpectTensorsRefused({A(), B(), {module + ".lora_magnitude_vector", "F32", {3}}}, "DoRA");
  ExpectTensorsRefused({A(), B(), {"base_model.model.lm_head.weight", "F32", {3, 3}}}, "lora_A");
  ExpectTensorsRefused({A(), B(), {".lora_A.weight", "F32", {2, 4}}}, "<module>");
  const std::string other = "base_model.model.model.layers.0.mlp.down_proj";
  ExpectTensorsRefused({A(other), B(other)}, "target_modules");
}

TEST_F(PeftTest, RefusesWhatIsCutShortOrMissing) {
  ExpectRefused(PeftAdapter::Open(dir_ + "/none").status(), "none", "No such file");
  ExpectRefused(PeftAdapter::Open(dir_).status(), "adapter_config.json", "to be there");
  Write("adapter_config.json", Config());
  Write("adapter_model.bin", "pickle");
  ExpectRefused(PeftAdapter::Open(dir_).status(), "adapter_model.safetensors", "adapter_model.bin");
  const std::string whole = Weights({A(), B()});
  for (size_t size = 0; size < whole.size(); size += 7) {
    Write("adapter_model.safetensors", whole.substr(0, size));
    ExpectRefused(PeftAdapter::Open(dir_).status(), "adapter_model.safetensors", "");
  }
  Write("adapter_model.safetensors", whole);
  EXPECT_TRUE(PeftAdapter::Open(dir_).ok());
  ExpectRefused(PeftAdapter::Open(dir_ + "/adapter_config.json").status(), "adapter_config.json",
                "a directory");
}

}  // namespace
}  // namespace inhouse::engine
