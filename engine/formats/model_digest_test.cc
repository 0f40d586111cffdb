#include "engine/formats/model_digest.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

namespace fs = std::filesystem;

class ModelDigestTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "/model_digest";
    fs::remove_all(directory_);
    fs::copy("tests/fixtures/models/llama", directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  static std::unique_ptr<Checkpoint> OpenOrDie(const std::string& path) {
    auto checkpoint = Checkpoint::Open(path);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return *std::move(checkpoint);
  }
  std::string directory_;
};

TEST_F(ModelDigestTest, IsOfTheContentNotOfThePlace) {
  const auto original = OpenOrDie("tests/fixtures/models/llama");
  const std::string digest = ModelDigest(*original);
  EXPECT_EQ(digest.size(), 64U);
  EXPECT_EQ(ModelDigest(*OpenOrDie(directory_)), digest);
}

TEST_F(ModelDigestTest, ChangesWithConfigurationAndWeights) {
  const std::string digest = ModelDigest(*OpenOrDie(directory_));
  const std::string config = *base::ReadFile(directory_ + "/config.json");
  const std::string other =
      absl::StrReplaceAll(config, {{"\"rms_norm_eps\": 0.001", "\"rms_norm_eps\": 0.002"}});
  ASSERT_NE(other, config);
  std::ofstream(directory_ + "/config.json") << other;
  EXPECT_NE(ModelDigest(*OpenOrDie(directory_)), digest);
  std::ofstream(directory_ + "/config.json") << config;
  EXPECT_EQ(ModelDigest(*OpenOrDie(directory_)), digest);
  const std::string times = FileTimes(*OpenOrDie(directory_));
  std::fstream weights(directory_ + "/model.safetensors",
                       std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-1, std::ios::end);
  weights.put('\x3c');
  weights.close();
  EXPECT_NE(ModelDigest(*OpenOrDie(directory_)), digest);
  EXPECT_NE(FileTimes(*OpenOrDie(directory_)), times);
}

}  // namespace
}  // namespace inhouse::engine
