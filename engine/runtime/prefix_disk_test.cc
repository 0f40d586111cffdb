// Prefixes that survive a restart, through the engine's front door.
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/runtime/test_engine.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

namespace fs = std::filesystem;

class PrefixDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "/prefix_disk_" +
                 testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  EngineOptions Options() const {
    return {.threads = 1,
            .kv_disk = directory_,
            .kv_disk_key = std::string(32, 'k'),
            .build = "this one"};
  }
  static GenerateRequest Question() {
    GenerateRequest request = Scored(Prompt(300, 4), 20);
    request.tenant = "clinic";
    return request;
  }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
      if (entry.path().extension() == ".inhouse-kv") files.push_back(entry.path());
    }
    return files;
  }

  std::string directory_;
};

TEST_F(PrefixDiskTest, AnswersAreTheSameAfterARestart) {
  const Answer first = Ask(*LoadOrDie(Options()), Question());
  EXPECT_EQ(first.cached, 0);
  EXPECT_FALSE(Files().empty());
  const auto engine = LoadOrDie(Options());
  const Answer again = Ask(*engine, Question());
  EXPECT_EQ(again.cached, 256);
  EXPECT_TRUE(SameBits(first, again));
  engine->Drain(60);
  EXPECT_EQ(engine->stats().disk_hits, 256);
  EXPECT_EQ(engine->stats().kv_pages_used, 0);
  // Now it is in memory.
  EXPECT_EQ(engine->stats().disk_queries, 256);
}

TEST_F(PrefixDiskTest, WhatDoesNotFitInMemoryComesBackFromDisk) {
  EngineOptions options = Options();
  options.kv_bytes = LoadOrDie({.threads = 1})->info().bytes.kv_per_token * 64 * 6;
  const auto engine = LoadOrDie(options);
  std::vector<Answer> first;
  for (int i = 0; i < 5; ++i) first.push_back(Ask(*engine, Scored(Prompt(200, i), 8)));
  for (int i = 0; i < 5; ++i) {
    const Answer again = Ask(*engine, Scored(Prompt(200, i), 8));
    EXPECT_EQ(again.cached, 192) << i;
    EXPECT_TRUE(SameBits(again, first[static_cast<size_t>(i)])) << i;
  }
}

TEST_F(PrefixDiskTest, NothingIsUsedThatIsNotOurs) {
  const Answer first = Ask(*LoadOrDie(Options()), Question());
  const auto cached = [&first](const EngineOptions& options, const GenerateRequest& request) {
    const Answer answer = Ask(*LoadOrDie(options), request);
    EXPECT_TRUE(SameBits(answer, first));
    return answer.cached;
  };
  GenerateRequest other = Question();
  other.tenant = "bank";
  EXPECT_EQ(cached(Options(), other), 0);
  other = Question();
  other.cache_salt = "mine";
  EXPECT_EQ(cached(Options(), other), 0);
  EngineOptions options = Options();
  options.kv_disk_key = std::string(32, 'x');
  EXPECT_EQ(cached(options, Question()), 0);
  options = Options();
  options.build = "another one";
  EXPECT_EQ(cached(options, Question()), 0);
  options = Options();
  options.isa = "ref";
  EXPECT_EQ(Ask(*LoadOrDie(options), Question()).cached, 0);
  options = Options();
  options.kv_type = "bf16";
  EXPECT_EQ(Ask(*LoadOrDie(options), Question()).cached, 0);
  EXPECT_EQ(cached(Options(), Question()), 256);  // and all of these left it where it was
}

TEST_F(PrefixDiskTest, DamagedPagesAreComputed) {
  const Answer first = Ask(*LoadOrDie(Options()), Question());
  for (const fs::path& path : Files()) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-40, std::ios::end);
    file.put('!');
  }
  const auto engine = LoadOrDie(Options());
  const Answer again = Ask(*engine, Question());
  EXPECT_LT(again.cached, 256);
  EXPECT_TRUE(SameBits(first, again));
  EXPECT_GT(engine->stats().disk_refused, 0);
}

// Several at once that begin alike, while the pages come from the disk; some leave meanwhile.
TEST_F(PrefixDiskTest, ManyReadTheSamePrefix) {
  const Answer first = Ask(*LoadOrDie(Options()), Question());
  const auto engine = LoadOrDie(Options());
  std::vector<Collector> collectors(6);
  std::vector<std::unique_ptr<Session>> sessions;
  for (Collector& collector : collectors) {
    auto session = engine->Submit(Question(), collector.callback());
    ASSERT_TRUE(session.ok());
    sessions.push_back(*std::move(session));
  }
  sessions[1]->Cancel();
  sessions[4].reset();
  for (size_t i = 0; i < collectors.size(); ++i) {
    collectors[i].Wait();
    if (i != 1 && i != 4) {
      EXPECT_EQ(collectors[i].ids(), first.ids) << i;
    }
  }
  engine->Drain(60);
  EXPECT_EQ(engine->stats().kv_pages_used, 0);
  EXPECT_EQ(engine->stats().disk_hits, 256);
}

// An engine that takes the place of another one with the same model, as when a server swaps.
TEST_F(PrefixDiskTest, TheSecondEngineTakesOverWhenTheFirstEnds) {
  auto first = LoadOrDie(Options());
  const Answer answer = Ask(*first, Question());
  const auto second = LoadOrDie(Options());
  EXPECT_FALSE(second->stats().disk_ready);
  EXPECT_TRUE(SameBits(Ask(*second, Question()), answer));
  first.reset();
  // It looks again each second; what it computes meanwhile is as good.
  for (int i = 10; !second->stats().disk_ready; ++i) Ask(*second, Scored(Prompt(200, i), 4));
  EXPECT_TRUE(SameBits(Ask(*second, Question()), answer));
}

TEST_F(PrefixDiskTest, RefusesAKeyThatIsNone) {
  EngineOptions options = Options();
  options.model = kModel;
  options.need_tokenizer = false;
  options.kv_disk_key = "short";
  EXPECT_EQ(base::ErrorField(Engine::Load(options).status()), "kv_disk_key");
  options.kv_disk_key = std::string(32, 'k');
  options.prefix_cache = false;
  EXPECT_EQ(base::ErrorField(Engine::Load(options).status()), "kv_disk");
  options.prefix_cache = true;
  options.kv_disk = "/proc/nowhere";
  EXPECT_EQ(base::ErrorFile(Engine::Load(options).status()), "/proc/nowhere");
}

}  // namespace
}  // namespace inhouse::engine
