// Pooled hidden states through the front door, on a tiny real checkpoint.
#include <cmath>
#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "engine/engine.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr Pooling kPoolings[] = {Pooling::kMean, Pooling::kLast};

std::unique_ptr<Engine> LoadOrDie(EngineOptions options) {
  options.model = "tests/fixtures/models/llama";
  options.need_tokenizer = false;
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

std::vector<TokenId> Prompt(int n, int seed) {
  std::vector<TokenId> ids;
  for (int i = 0; i < n; ++i) ids.push_back((i * 37 + seed * 11) % 250);
  return ids;
}

// One embedding that is being made.
struct Pending {
  TokenEvent last;
  absl::Notification done;
  std::unique_ptr<Session> session;

  Pending(Engine& engine, std::vector<TokenId> ids, Pooling pooling) {
    GenerateRequest request;
    request.prompt_ids = std::move(ids);
    request.pooling = pooling;
    auto submitted = engine.Submit(std::move(request), [this](TokenEvent event) {
      EXPECT_TRUE(event.ids.empty());
      if (event.finish == FinishReason::kNone) return;
      last = std::move(event);
      done.Notify();
    });
    EXPECT_TRUE(submitted.ok()) << submitted.status();
    session = *std::move(submitted);
  }
  const std::vector<float>& Wait() {
    done.WaitForNotification();
    EXPECT_EQ(last.finish, FinishReason::kStop);
    return last.embedding;
  }
};

std::vector<float> Embed(Engine& engine, const std::vector<TokenId>& ids, Pooling pooling) {
  Pending pending(engine, ids, pooling);
  return pending.Wait();
}

// First values of what tests/golden/llama_float64.py gives for this checkpoint with an identity
// for its head: the rows behind the final norm, their mean or the last, divided by its length.
TEST(EmbeddingTest, EqualsTheReference) {
  const auto engine = LoadOrDie({.threads = 1, .isa = "ref"});
  const float expected[2][8] = {
      {0.026875F, 0.040744F, -0.106505F, 0.316631F, -0.104014F, 0.131118F, 0.040471F, -0.004335F},
      {0.064226F, 0.069015F, 0.08347F, 0.020562F, -0.38887F, 0.215328F, 0.019769F, -0.109892F}};
  for (int i = 0; i < 2; ++i) {
    const std::vector<float> found = Embed(*engine, Prompt(70, 2), kPoolings[i]);
    ASSERT_EQ(found.size(), 64U);
    for (int j = 0; j < 8; ++j) EXPECT_NEAR(found[static_cast<size_t>(j)], expected[i][j], 2e-6F);
    double squares = 0;
    for (const float x : found) squares += static_cast<double>(x) * static_cast<double>(x);
    EXPECT_NEAR(squares, 1, 1e-6);
  }
}

TEST(EmbeddingTest, SameBytesInAnyChunkAndAnyCrowd) {
  const auto alone = LoadOrDie({.threads = 1});
  const auto crowded = LoadOrDie({.threads = 2, .max_sequences = 8, .prefill_chunk = 7});
  const int64_t page = alone->info().bytes.kv_per_token * 64;
  // Prompts of one to six pages on eight pages: some are put back and computed again.
  const auto tight =
      LoadOrDie({.threads = 1, .kv_bytes = 8 * page, .max_sequences = 4, .prefill_chunk = 50});
  for (const Pooling pooling : kPoolings) {
    std::vector<std::vector<float>> expected;
    for (int i = 0; i < 6; ++i) {
      expected.push_back(Embed(*alone, Prompt(1 + 70 * i, i), pooling));
    }
    for (Engine* engine : {crowded.get(), tight.get()}) {
      GenerateRequest talk;  // a decode in every step
      talk.prompt_ids = Prompt(5, 9);
      talk.max_tokens = 60;
      talk.ignore_eos = true;
      const auto session = engine->Submit(talk, {});
      std::vector<std::unique_ptr<Pending>> pending;
      for (int i = 0; i < 6; ++i) {
        pending.push_back(std::make_unique<Pending>(*engine, Prompt(1 + 70 * i, i), pooling));
      }
      for (size_t i = 0; i < 6; ++i) EXPECT_EQ(pending[i]->Wait(), expected[i]) << i;
    }
  }
}

TEST(EmbeddingTest, CountsThePromptAndTakesAWholeContext) {
  const auto engine = LoadOrDie({.threads = 1});
  Pending whole(*engine, Prompt(512, 1), Pooling::kMean);
  EXPECT_EQ(whole.Wait().size(), 64U);
  EXPECT_EQ(whole.last.usage.prompt_tokens, 512);
  EXPECT_EQ(whole.last.usage.completion_tokens, 0);
  GenerateRequest request;
  request.pooling = Pooling::kLast;
  request.prompt_ids = Prompt(513, 1);
  EXPECT_FALSE(engine->Submit(request, {}).ok());
}

}  // namespace
}  // namespace inhouse::engine
