// The engine through its front door, on a tiny real checkpoint (random weights, no tokenizer).
#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/synchronization/notification.h"
#include "base/status.h"
#include "engine/runtime/test_engine.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

// Each type of the KV cache takes the bytes that it says, and the answer stays near that of f32.
TEST(EngineTest, TypesOfTheKvCache) {
  const auto logits = [](const std::string& type, int64_t* bytes) {
    const auto engine = LoadOrDie({.threads = 1, .context_tokens = 128, .kv_type = type});
    EXPECT_EQ(engine->info().bytes.kv_type, type);
    *bytes = engine->info().bytes.kv_per_token;
    const auto rows = engine->Logits(Prompt(70, 3), {});
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows->back();
  };
  int64_t f32_bytes = 0;
  const std::vector<float> exact = logits("f32", &f32_bytes);
  float largest = 0;
  for (const float x : exact) largest = std::max(largest, std::abs(x));
  for (const auto& [type, shrink, tolerance] :
       {std::tuple{"f16", 2, 3e-3F}, {"bf16", 2, 3e-2F}, {"fp8", 3, 3e-1F}}) {
    int64_t bytes = 0;
    const std::vector<float> rounded = logits(type, &bytes);
    EXPECT_LE(bytes, f32_bytes / shrink) << type;
    EXPECT_NE(rounded, exact) << type;
    for (size_t i = 0; i < exact.size(); ++i) {
      ASSERT_NEAR(rounded[i], exact[i], tolerance * largest) << type;
    }
  }
  const auto unknown = Engine::Load({.model = kModel, .kv_type = "int3", .need_tokenizer = false});
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(base::Message(unknown.status()).find("auto, f32, f16, bf16 or fp8"), std::string::npos);
}

TEST(EngineTest, AnswersDoNotDependOnTheCrowd) {
  const auto engine = LoadOrDie({.threads = 2, .max_sequences = 8, .prefill_chunk = 16});
  Collector alone;
  const auto session = engine->Submit(Sampled(Prompt(40, 0), 50), alone.callback());
  ASSERT_TRUE(session.ok()) << session.status();
  alone.Wait();
  ASSERT_EQ(alone.ids().size(), 50U);
  std::vector<Collector> crowd(8);
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 8; ++i) {
    // Number 3 is the same request again, among others of other lengths.
    const auto prompt = i == 3 ? Prompt(40, 0) : Prompt(5 + 9 * i, i + 1);
    auto one = engine->Submit(Sampled(prompt, 50), crowd[static_cast<size_t>(i)].callback());
    ASSERT_TRUE(one.ok());
    sessions.push_back(*std::move(one));
  }
  for (Collector& collector : crowd) EXPECT_EQ(collector.Wait().finish, FinishReason::kLength);
  EXPECT_EQ(crowd[3].ids(), alone.ids());
  EXPECT_NE(crowd[4].ids(), alone.ids());
}

TEST(EngineTest, PreemptionDoesNotChangeAnswers) {
  const auto roomy = LoadOrDie({.threads = 1, .max_sequences = 4});
  const int64_t page = roomy->info().bytes.kv_per_token * 64;
  const auto tight = LoadOrDie({.threads = 1, .kv_bytes = 5 * page, .max_sequences = 4});
  std::vector<std::vector<TokenId>> expected;
  for (const auto& engine : {std::cref(roomy), std::cref(tight)}) {
    std::vector<Collector> collectors(3);
    std::vector<std::unique_ptr<Session>> sessions;
    // Callbacks run on the engine's thread: none goes on until all requests are there to compete.
    absl::Notification all_submitted;
    for (int i = 0; i < 3; ++i) {
      auto one = engine.get()->Submit(
          Sampled(Prompt(60, i), 100),
          [&all_submitted,
           collect = collectors[static_cast<size_t>(i)].callback()](TokenEvent event) {
            all_submitted.WaitForNotification();
            collect(std::move(event));
          });
      ASSERT_TRUE(one.ok()) << one.status();
      sessions.push_back(*std::move(one));
    }
    all_submitted.Notify();
    for (size_t i = 0; i < 3; ++i) {
      collectors[i].Wait();
      if (expected.size() < 3) {
        expected.push_back(collectors[i].ids());
      } else {
        EXPECT_EQ(collectors[i].ids(), expected[i]);
      }
    }
  }
  EXPECT_EQ(roomy->stats().preemptions, 0);
  tight->Drain(60);
  EXPECT_GT(tight->stats().preemptions, 0);
  EXPECT_EQ(tight->stats().kv_pages_used, 0);
}

// Cancelled while a token is handed out: the next thing that happens is the end, and its pages are
// free.
TEST(EngineTest, CancelEndsARequestWithinAStep) {
  const auto engine = LoadOrDie({.threads = 1});
  Collector collector;
  absl::Notification submitted;
  std::unique_ptr<Session> session;
  int tokens = 0;
  auto one = engine->Submit(Sampled(Prompt(100, 1), 400),
                            [&, collect = collector.callback()](TokenEvent event) {
                              submitted.WaitForNotification();
                              collect(std::move(event));
                              if (++tokens == 3) session->Cancel();
                            });
  ASSERT_TRUE(one.ok());
  session = *std::move(one);
  submitted.Notify();
  EXPECT_EQ(collector.Wait().finish, FinishReason::kCancelled);
  EXPECT_EQ(collector.ids().size(), 3U);
  engine->Drain(60);
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.kv_pages_used, 0);
  EXPECT_EQ(stats.kv_pages_cached, 1);  // the whole one of its prompt
  EXPECT_EQ(stats.steps, 3);
}

TEST(EngineTest, LogprobsAgreeWithLogits) {
  const auto engine = LoadOrDie({.threads = 2});
  const std::vector<TokenId> prompt = Prompt(20, 2);
  const auto logits = engine->Logits(prompt, {.all = true});
  ASSERT_TRUE(logits.ok()) << logits.status();
  ASSERT_EQ(logits->size(), 20U);
  GenerateRequest request = Sampled(prompt, 1);
  request.sampling.temperature = 0;
  request.logprobs = 2;
  request.prompt_logprobs = true;
  Collector collector;
  const auto session = engine->Submit(request, collector.callback());
  ASSERT_TRUE(session.ok());
  collector.Wait();
  const auto log_softmax = [&](size_t row, TokenId id) {
    double sum = 0;
    for (const float x : (*logits)[row]) sum += std::exp(static_cast<double>(x));
    return static_cast<double>((*logits)[row][static_cast<size_t>(id)]) - std::log(sum);
  };
  const auto prompt_logprobs = collector.prompt_logprobs();
  ASSERT_EQ(prompt_logprobs.size(), 20U);
  EXPECT_TRUE(std::isnan(prompt_logprobs[0].logprob));
  for (size_t i = 1; i < 20; ++i) {
    EXPECT_EQ(prompt_logprobs[i].id, prompt[i]);
    EXPECT_NEAR(static_cast<double>(prompt_logprobs[i].logprob), log_softmax(i - 1, prompt[i]),
                1e-4);
    EXPECT_EQ(prompt_logprobs[i].top.size(), 2U);
  }
  ASSERT_EQ(collector.logprobs().size(), 1U);
  EXPECT_EQ(collector.logprobs()[0].top[0].first, collector.ids()[0]);
}

TEST(EngineTest, ZeroTokensScoreThePromptOnly) {
  const auto engine = LoadOrDie({.threads = 1});
  GenerateRequest request = Sampled(Prompt(300, 1), 0);
  request.logprobs = 0;
  request.prompt_logprobs = true;
  Collector collector;
  const auto session = engine->Submit(request, collector.callback());
  ASSERT_TRUE(session.ok());
  EXPECT_EQ(collector.Wait().finish, FinishReason::kLength);
  EXPECT_TRUE(collector.ids().empty());
  EXPECT_EQ(collector.prompt_logprobs().size(), 300U);
}

TEST(EngineTest, RefusesWhatTheModelCannotDo) {
  const auto engine = LoadOrDie({.threads = 1});
  const auto field = [&engine](GenerateRequest request) {
    const auto session = engine->Submit(std::move(request), {});
    EXPECT_FALSE(session.ok());
    return base::ErrorField(session.status()).value_or("none");
  };
  EXPECT_EQ(field(Sampled({}, 5)), "prompt");
  EXPECT_EQ(field(Sampled({1, 256}, 5)), "prompt");
  EXPECT_EQ(field(Sampled({-1}, 5)), "prompt");
  EXPECT_EQ(field(Sampled(Prompt(512, 0), 5)), "prompt");  // no room for an answer
  EXPECT_EQ(field(Sampled({1}, -1)), "max_tokens");
  GenerateRequest request = Sampled({1}, 5);
  request.sampling.temperature = -1;
  EXPECT_EQ(field(request), "temperature");
  request.sampling.temperature = std::nanf("");
  EXPECT_EQ(field(request), "temperature");
  request = Sampled({1}, 5);
  request.stop = {"x"};
  EXPECT_EQ(field(request), "stop");
  // A whole context is a prompt if nothing is to be generated.
  EXPECT_TRUE(engine->Logits(Prompt(512, 0), {}).ok());
}

std::vector<TokenId> Answer(Engine& engine, const GenerateRequest& request) {
  Collector collector;
  const auto session = engine.Submit(request, collector.callback());
  EXPECT_TRUE(session.ok()) << session.status();
  collector.Wait();
  return collector.ids();
}

TEST(EngineTest, ChoosesWithinBounds) {
  const auto engine = LoadOrDie({.threads = 1});
  GenerateRequest request = Sampled(Prompt(20, 2), 40);
  const std::vector<TokenId> free = Answer(*engine, request);
  request.allowed_ids = {3, 5, 8};
  for (const TokenId id : Answer(*engine, request)) EXPECT_TRUE(id == 3 || id == 5 || id == 8);
  request.sampling.temperature = 0;
  for (const TokenId id : Answer(*engine, request)) EXPECT_TRUE(id == 3 || id == 5 || id == 8);
  request = Sampled(Prompt(20, 2), 40);
  request.bad_sequences = {{free[0]}, {free[0], free[1]}};
  std::vector<TokenId> bounded = Answer(*engine, request);
  EXPECT_EQ(std::count(bounded.begin(), bounded.end(), free[0]), 0);
  // Of a pair only the second is barred, and only behind the first.
  request.bad_sequences = {{free[0], free[1]}};
  bounded = Answer(*engine, request);
  EXPECT_EQ(bounded[0], free[0]);
  EXPECT_NE(bounded[1], free[1]);
  request.bad_sequences = {{free[1], free[1], free[1], free[2]}};
  EXPECT_EQ(Answer(*engine, request), free);
}

TEST(EngineTest, ReasoningEndsWithinItsBudget) {
  const auto engine = LoadOrDie({.threads = 1});
  GenerateRequest request = Sampled(Prompt(20, 2), 12);
  const std::vector<TokenId> free = Answer(*engine, request);
  request.thinking_budget = {.tokens = 5, .end = {7, 9}};
  const std::vector<TokenId> bounded = Answer(*engine, request);
  EXPECT_TRUE(std::equal(free.begin(), free.begin() + 5, bounded.begin()));
  EXPECT_EQ(bounded[5], 7);
  EXPECT_EQ(bounded[6], 9);
  EXPECT_EQ(bounded.size(), 12U);
  request.thinking_budget = {.tokens = 0, .end = {7}};
  EXPECT_EQ(Answer(*engine, request)[0], 7);
  // Reasoning that the answer opens itself, or does not.
  request.thinking_budget = {.tokens = 3, .begin = {free[0], free[1]}, .end = {7}};
  EXPECT_EQ(Answer(*engine, request)[3], 7);
  request.thinking_budget = {.tokens = 3, .begin = {free[0] + 1}, .end = {7}};
  EXPECT_EQ(Answer(*engine, request), free);
  // It ended by itself before: nothing is put in.
  request.thinking_budget = {.tokens = 5, .end = {free[2]}};
  EXPECT_EQ(Answer(*engine, request), free);
}

TEST(EngineTest, BoundsTheQueueAndDrains) {
  const auto engine = LoadOrDie({.threads = 1, .max_sequences = 1, .queue_max = 2});
  std::vector<Collector> collectors(3);
  std::vector<std::unique_ptr<Session>> sessions;
  for (Collector& collector : collectors) {
    auto one = engine->Submit(Sampled(Prompt(4, 1), 500), collector.callback());
    ASSERT_TRUE(one.ok());
    sessions.push_back(*std::move(one));
  }
  const auto full = engine->Submit(Sampled(Prompt(4, 1), 1), {});
  EXPECT_EQ(full.status().code(), absl::StatusCode::kResourceExhausted);
  sessions.clear();  // destroying a session cancels its request
  engine->Drain(60);
  for (Collector& collector : collectors) EXPECT_EQ(collector.ended(), 1);
  EXPECT_EQ(engine->Submit(Sampled({1}, 1), {}).status().code(), absl::StatusCode::kUnavailable);
}

TEST(EngineTest, RefusesBeforeItBreaks) {
  EngineOptions options{.model = kModel, .isa = "avx9000", .need_tokenizer = false};
  EXPECT_EQ(base::ErrorField(Engine::Load(options).status()), "isa");
  options.isa = "";
  options.kv_bytes = int64_t{1} << 50;
  const absl::Status status = Engine::Load(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(base::Message(status).find("weights"), std::string::npos);
  options = {.model = "tests/fixtures/models/no-such-model"};
  EXPECT_EQ(Engine::Load(options).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace inhouse::engine
