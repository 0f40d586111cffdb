#include "engine/formats/checkpoint.h"

#include <string>

#include "engine/formats/test_files.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

class CheckpointTest : public FilesTest {
 protected:
  std::string Tensor(const std::string& name) const {
    return Safetensors("{" + Entry(name, "F32", "[1]", "[0,4]") + "}", "1234");
  }
};

TEST_F(CheckpointTest, OpensAShardedDirectory) {
  const auto checkpoint = Checkpoint::Open("tests/fixtures/formats/llama-sharded");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const Checkpoint& c = **checkpoint;
  EXPECT_EQ(c.tensors.tensors().size(), 30U);
  EXPECT_EQ(c.tensors.files().size(), 3U);
  EXPECT_EQ(c.tensors.total_bytes(), 501504U);  // what its index says
  ASSERT_TRUE(c.config.has_value());
  EXPECT_EQ(*c.config->String("model_type"), "llama");
  EXPECT_TRUE(c.generation_config.has_value());
  EXPECT_FALSE(c.gguf.has_value());
}

TEST_F(CheckpointTest, OpensGguf) {
  const auto checkpoint = Checkpoint::Open("tests/fixtures/formats/mxfp4.gguf");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_FALSE((*checkpoint)->config.has_value());
  ASSERT_TRUE((*checkpoint)->gguf.has_value());
  EXPECT_TRUE((*checkpoint)->gguf->Has("general.architecture"));
  EXPECT_EQ((*checkpoint)->tensors.tensors().size(), 21U);
}

TEST_F(CheckpointTest, ChoosesTheWeightFilesOfADirectory) {
  const auto has = [this](const char* tensor) {
    const auto checkpoint = Checkpoint::Open(dir_);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return checkpoint.ok() && (*checkpoint)->tensors.Find(tensor) != nullptr;
  };
  Write("config.json", "{}");
  Write("adapter_model.safetensors", Tensor("adapter"));
  ExpectRefused(Checkpoint::Open(dir_).status(), dir_, "model.safetensors");
  Write("weights.safetensors", Tensor("alone"));
  EXPECT_TRUE(has("alone"));
  Write("model-00001-of-00002.safetensors", Tensor("shard"));
  ExpectRefused(Checkpoint::Open(dir_).status(), "model.safetensors.index.json", "have no index");
  Write("model.safetensors.index.json",
        R"({"weight_map":{"shard":"model-00001-of-00002.safetensors"}})");
  EXPECT_TRUE(has("shard"));
  Write("model.safetensors", Tensor("single"));
  EXPECT_TRUE(has("single"));
}

TEST_F(CheckpointTest, OpensWithoutWeights) {
  EXPECT_TRUE(Checkpoint::Open(dir_, false).ok());  // tokenizer only
  Write("config.json", R"({"model_type":"llama"})");
  const auto checkpoint = Checkpoint::Open(dir_, false);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE((*checkpoint)->config.has_value());
  EXPECT_TRUE((*checkpoint)->tensors.tensors().empty());
}

TEST_F(CheckpointTest, SaysWhatIsMissing) {
  EXPECT_EQ(Checkpoint::Open(dir_ + "/no").status().code(), absl::StatusCode::kNotFound);
  ExpectRefused(Checkpoint::Open(dir_ + "/no").status(), dir_ + "/no", "cannot open");
  ExpectRefused(Checkpoint::Open(dir_).status(), "config.json", "to be there");
  const std::string gguf = Write("m.gguf", "x");
  ExpectRefused(Checkpoint::Open(dir_).status(), "config.json", "name it: " + gguf);
  ExpectRefused(Checkpoint::Open(gguf).status(), gguf, "offset 0");
  const std::string file = Write("model.safetensors", Tensor("a"));
  ExpectRefused(Checkpoint::Open(file).status(), file, "Name the directory");
  Write("config.json", "{\"a\":");
  ExpectRefused(Checkpoint::Open(dir_).status(), "config.json", "valid JSON");
  Write("config.json", "{}");
  Write("generation_config.json", "[]");
  ExpectRefused(Checkpoint::Open(dir_).status(), "generation_config.json", "a JSON object");
}

}  // namespace
}  // namespace inhouse::engine
