// Packed weights through the front door: saved, mapped, and the same bits as packing at load.
#include "engine/pack.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/kernels/kernel_table.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr const char* kLlama = "tests/fixtures/models/llama-bf16";
constexpr const char* kPermuted = "tests/fixtures/models/gguf-kquants/model.gguf";

bool GoOn(int64_t, int64_t) { return true; }

EngineOptions Options(const std::string& model, const std::string& isa = "") {
  EngineOptions options;
  options.model = model;
  options.isa = isa;
  options.threads = 2;
  options.context_tokens = 64;
  options.need_tokenizer = false;
  return options;
}

std::vector<std::vector<float>> LogitsOf(const EngineOptions& options, std::string* packed) {
  const auto engine = Engine::Load(options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  if (!engine.ok()) return {};
  *packed = (*engine)->info().load.packed;
  const std::vector<TokenId> ids = {1, 7, 30, 2, 99, 41};
  const auto logits = (*engine)->Logits(ids, {.all = true});
  EXPECT_TRUE(logits.ok()) << logits.status();
  return logits.ok() ? *logits : std::vector<std::vector<float>>{};
}

class PackTest : public testing::Test {
 protected:
  PackTest() {
    std::string pattern = testing::TempDir() + "inhouse-pack-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    file_ = directory_ + "/model.inhouse-pack";
  }
  ~PackTest() override { std::filesystem::remove_all(directory_); }

  std::string Refusal(EngineOptions options) const {
    options.packed = file_;
    const auto engine = Engine::Load(options);
    EXPECT_FALSE(engine.ok());
    return engine.ok() ? "" : base::Message(engine.status());
  }
  void Damage(int64_t from_the_end) const {
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-from_the_end, std::ios::end);
    const int byte = file.get();
    file.seekp(-from_the_end, std::ios::end);
    file.put(static_cast<char>(byte ^ 1));
  }

  std::string directory_;
  std::string file_;
};

TEST_F(PackTest, MappedGivesTheSameBytesAtEveryLevel) {
  for (const std::string model : {kLlama, kPermuted, "tests/fixtures/models/gguf-q8_0/model.gguf",
                                  "tests/fixtures/models/qwen2"}) {
    for (const IsaLevel level : SupportedLevels()) {
      EngineOptions options = Options(model, std::string(Name(level)));
      const auto report = SavePacked(options, file_, GoOn);
      ASSERT_TRUE(report.ok()) << report.status();
      EXPECT_EQ(report->isa, Name(level));
      EXPECT_EQ(static_cast<uint64_t>(report->file_bytes), std::filesystem::file_size(file_));
      std::string packed;
      const auto made = LogitsOf(options, &packed);
      EXPECT_EQ(packed, "");
      options.packed = file_;
      const auto mapped = LogitsOf(options, &packed);
      EXPECT_EQ(packed, file_);
      EXPECT_EQ(made, mapped) << model << " " << Name(level);
      EXPECT_FALSE(made.empty());
      EXPECT_TRUE(VerifyPacked(options, file_, GoOn).ok());
    }
  }
}

TEST_F(PackTest, TheCacheIsFoundByModelAndLevel) {
  EngineOptions options = Options(kLlama);
  options.packed_cache = directory_ + "/cache/packed";
  std::string packed;
  const auto made = LogitsOf(options, &packed);
  EXPECT_EQ(packed, "") << "nothing is there yet";
  const auto report = SavePacked(options, "", GoOn);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(LogitsOf(options, &packed), made);
  EXPECT_EQ(packed, report->path);
  EngineOptions other = options;
  other.isa = "ref";
  LogitsOf(other, &packed);
  EXPECT_EQ(packed, "") << "another level has a file of its own";
}

TEST_F(PackTest, WhatDoesNotFitIsRefusedOrPassedOver) {
  EngineOptions options = Options(kLlama);
  options.packed_cache = directory_;
  const auto report = SavePacked(options, "", GoOn);
  ASSERT_TRUE(report.ok()) << report.status();
  file_ = report->path;
  EXPECT_NE(Refusal(Options("tests/fixtures/models/llama-f16")).find("fingerprint"),
            std::string::npos);
  // Only `ref` surely differs from the best level of any machine, and only where there is another.
  if (SupportedLevels().size() > 1) {
    EXPECT_NE(Refusal(Options(kLlama, "ref")).find("kernel ref (level ref)"), std::string::npos);
  }
  // The last panel of the last matrix but one row of panels is not looked at; the middle one is.
  std::filesystem::resize_file(file_, static_cast<uint64_t>(report->file_bytes) - 1);
  EXPECT_NE(Refusal(options).find("size"), std::string::npos);
  std::string packed;
  EXPECT_FALSE(LogitsOf(options, &packed).empty()) << "a bad file of the cache costs nothing";
  EXPECT_EQ(packed, "");
  const auto engine = Engine::Load(options);
  ASSERT_TRUE(engine.ok());
  EXPECT_NE((*engine)->info().load.problem.find("size"), std::string::npos);
}

TEST_F(PackTest, DamagedPanelsAreFound) {
  const EngineOptions options = Options(kLlama);
  const auto report = SavePacked(options, file_, GoOn);
  ASSERT_TRUE(report.ok()) << report.status();
  Damage(1);
  const auto verified = VerifyPacked(options, file_, GoOn);
  EXPECT_EQ(verified.status().code(), absl::StatusCode::kDataLoss) << verified.status();
  Damage(1);
  EXPECT_TRUE(VerifyPacked(options, file_, GoOn).ok());
  // Panels that were laid out otherwise, all of them.
  std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(2 << 20);
  const std::string zeros(static_cast<size_t>(report->file_bytes) - (2U << 20), '\0');
  file.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
  file.close();
  EXPECT_NE(Refusal(options).find("the bytes that this build packs"), std::string::npos);
}

TEST_F(PackTest, CancelledLeavesNothing) {
  int calls = 0;
  const auto report = SavePacked(Options(kLlama), file_, [&calls](int64_t done, int64_t total) {
    EXPECT_LE(done, total);
    return ++calls < 3;
  });
  EXPECT_EQ(report.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

TEST_F(PackTest, LoadSaysWhereTheTimeWent) {
  const auto engine = Engine::Load(Options(kLlama));
  ASSERT_TRUE(engine.ok()) << engine.status();
  const LoadReport& load = (*engine)->info().load;
  EXPECT_GT(load.open_ms, 0);
  EXPECT_GT(load.weights_ms, 0);
  EXPECT_NEAR(load.total_ms, load.open_ms + load.bind_ms + load.weights_ms + load.buffers_ms, 1e-6);
  EXPECT_GT(load.stored_bytes, 0);
}

}  // namespace
}  // namespace inhouse::engine
