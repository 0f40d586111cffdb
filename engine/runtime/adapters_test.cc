// Adapters through the front door: many in one batch, loaded and unloaded while requests run.
#include "engine/runtime/adapters.h"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

using testing::HasSubstr;

constexpr const char* kModel = "tests/fixtures/models/llama";
constexpr const char* kAdapter = "tests/fixtures/adapters/llama-r4";
constexpr const char* kOfAnother = "tests/fixtures/adapters/llama-linear-rslora";

std::unique_ptr<Engine> LoadOrDie(EngineOptions options) {
  options.model = kModel;
  options.need_tokenizer = false;
  options.context_tokens = 256;
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

std::vector<TokenId> Prompt(int n, int seed) {
  std::vector<TokenId> ids;
  for (int i = 0; i < n; ++i) ids.push_back((i * 37 + seed * 11) % 250);
  return ids;
}

// A request in flight.
struct Answer {
  absl::Mutex mutex;
  std::vector<TokenId> ids ABSL_GUARDED_BY(mutex);
  std::vector<float> logprobs ABSL_GUARDED_BY(mutex);
  FinishReason finish ABSL_GUARDED_BY(mutex) = FinishReason::kNone;
  std::unique_ptr<Session> session;

  void Wait() {
    absl::MutexLock lock(&mutex);
    const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
      return finish != FinishReason::kNone;
    };
    EXPECT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&done), absl::Seconds(60)));
  }
  void WaitForToken() {
    absl::MutexLock lock(&mutex);
    const auto some = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return !ids.empty(); };
    EXPECT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&some), absl::Seconds(60)));
  }
};

void Record(Answer& answer, const TokenEvent& event) {
  absl::MutexLock lock(&answer.mutex);
  answer.ids.insert(answer.ids.end(), event.ids.begin(), event.ids.end());
  for (const TokenLogprob& logprob : event.logprobs) answer.logprobs.push_back(logprob.logprob);
  if (event.finish != FinishReason::kNone) answer.finish = event.finish;
}

// With `hold`, the engine stands still after each token until it is notified.
std::shared_ptr<Answer> Start(Engine& engine, std::vector<TokenId> prompt,
                              const std::string& adapter, int64_t tokens,
                              absl::Notification* hold = nullptr) {
  auto answer = std::make_shared<Answer>();
  GenerateRequest request;
  request.prompt_ids = std::move(prompt);
  request.adapter = adapter;
  request.max_tokens = tokens;
  request.ignore_eos = true;
  request.logprobs = 0;
  request.sampling.temperature = 0;
  auto session = engine.Submit(std::move(request), [answer, hold](TokenEvent event) {
    Record(*answer, event);
    if (hold != nullptr) hold->WaitForNotification();
  });
  EXPECT_TRUE(session.ok()) << session.status();
  answer->session = *std::move(session);
  return answer;
}

// Ids and logprobs, bit for bit, of a request that has ended.
std::pair<std::vector<TokenId>, std::vector<float>> Result(Answer& answer) {
  answer.Wait();
  absl::MutexLock lock(&answer.mutex);
  return {answer.ids, answer.logprobs};
}

// The adapter of a fixture with its B multiplied: another adapter for the same model.
class ScaledAdapter {
 public:
  explicit ScaledAdapter(const std::string& alpha) {
    std::string pattern = testing::TempDir() + "inhouse-adapter-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
    std::filesystem::copy(std::string(kAdapter) + "/adapter_model.safetensors",
                          path_ + "/adapter_model.safetensors");
    std::ofstream(path_ + "/adapter_config.json") << R"({"peft_type":"LORA","r":4,"lora_alpha":)"
                                                  << alpha << R"(,"target_modules":".*_proj"})";
  }
  ~ScaledAdapter() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Decision 0003, at every level: sequences of the base and of two adapters in one batch, prompts of
// different lengths in chunks, give what each gives alone.
TEST(AdaptersTest, AnswersDoNotDependOnTheCrowd) {
  const ScaledAdapter stronger("-24");
  for (const IsaLevel level : SupportedLevels()) {
    EngineOptions options{.threads = 2, .isa = std::string(Name(level)), .prefill_chunk = 16};
    options.adapters = {{"one", kAdapter}, {"two", stronger.path()}};
    const auto engine = LoadOrDie(options);
    const std::string names[] = {"", "one", "two"};
    // Each prompt with each adapter.
    const auto start = [&](int i, absl::Notification* hold) {
      return Start(*engine, Prompt(5 + 16 * (i / 3), i / 3), names[i % 3], 12, hold);
    };
    std::vector<std::pair<std::vector<TokenId>, std::vector<float>>> alone;
    for (int i = 0; i < 9; ++i) alone.push_back(Result(*start(i, nullptr)));
    EXPECT_NE(alone[3].second, alone[4].second);
    EXPECT_NE(alone[4].second, alone[5].second);
    // The others come while the first one's first token is held up, and so all run together.
    absl::Notification all_there;
    std::vector<std::shared_ptr<Answer>> crowd = {start(0, &all_there)};
    for (int i = 1; i < 9; ++i) crowd.push_back(start(i, nullptr));
    all_there.Notify();
    for (size_t i = 0; i < crowd.size(); ++i) {
      EXPECT_EQ(Result(*crowd[i]), alone[i]) << Name(level) << " " << i;
    }
  }
}

TEST(AdaptersTest, ChangesLogitsAndLeavesTheBaseAlone) {
  const auto plain = LoadOrDie({.threads = 1});
  const auto engine = LoadOrDie({.threads = 1, .adapters = {{"one", kAdapter}}});
  const std::vector<TokenId> ids = Prompt(9, 1);
  const auto base = plain->Logits(ids, {.all = true});
  const auto same = engine->Logits(ids, {.all = true});
  const auto changed = engine->Logits(ids, {.all = true, .adapter = "one"});
  ASSERT_TRUE(base.ok() && same.ok() && changed.ok());
  EXPECT_EQ(*base, *same);
  EXPECT_NE(*base, *changed);
}

TEST(AdaptersTest, LoadsAndUnloadsWhileRequestsRun) {
  const ScaledAdapter stronger("100");
  const auto engine = LoadOrDie({.threads = 1, .adapter_rank_max = 4});
  EXPECT_TRUE(engine->adapters().empty());
  const auto info = engine->LoadAdapter({"one", kAdapter}, false);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->rank, 4);
  EXPECT_EQ(info->base_model, "llama");
  EXPECT_EQ(info->fingerprint.size(), 64U);
  const auto expected = Result(*Start(*engine, Prompt(5, 2), "one", 150));
  absl::Notification go_on;
  const auto running = Start(*engine, Prompt(5, 2), "one", 150, &go_on);
  running->WaitForToken();
  const std::vector<AdapterUse> use = engine->stats().adapters;
  ASSERT_EQ(use.size(), 1U);
  EXPECT_EQ(use[0].name, "one");
  EXPECT_EQ(use[0].running, 1);
  // Replaced, then unloaded: what runs goes on with the weights that it began with.
  ASSERT_TRUE(engine->LoadAdapter({"one", stronger.path()}, true).ok());
  const auto second = Start(*engine, Prompt(5, 2), "one", 10);
  ASSERT_TRUE(engine->UnloadAdapter("one").ok());
  go_on.Notify();
  const auto later = Result(*second);
  EXPECT_EQ(Result(*running), expected);
  EXPECT_NE(later.second,
            std::vector<float>(expected.second.begin(), expected.second.begin() + 10));
  EXPECT_EQ(later.first.size(), 10U);
  EXPECT_TRUE(engine->adapters().empty());
  EXPECT_EQ(engine->UnloadAdapter("one").code(), absl::StatusCode::kNotFound);
}

TEST(AdaptersTest, UnknownNamesAreNotFound) {
  const auto engine = LoadOrDie({.threads = 1});
  GenerateRequest request;
  request.prompt_ids = {1, 2, 3};
  request.adapter = "nobody";
  EXPECT_EQ(engine->Submit(request, [](TokenEvent) {}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(engine->Logits(request.prompt_ids, {.adapter = "nobody"}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(AdaptersTest, KeepsItsLimits) {
  const auto engine = LoadOrDie({.threads = 1, .adapters_max = 2, .adapter_rank_max = 4});
  ASSERT_TRUE(engine->LoadAdapter({"one", kAdapter}, false).ok());
  EXPECT_EQ(engine->LoadAdapter({"one", kAdapter}, false).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(engine->LoadAdapter({"one", kAdapter}, true).ok());
  ASSERT_TRUE(engine->LoadAdapter({"two", kAdapter}, false).ok());
  EXPECT_EQ(engine->LoadAdapter({"three", kAdapter}, false).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(engine->UnloadAdapter("one").ok());
  EXPECT_TRUE(engine->LoadAdapter({"three", kAdapter}, false).ok());
  EXPECT_FALSE(engine->LoadAdapter({"", kAdapter}, false).ok());
  EXPECT_FALSE(engine->LoadAdapter({"a:b", kAdapter}, false).ok());

  const auto low = LoadOrDie({.threads = 1, .adapter_rank_max = 3});
  const absl::Status rank = low->LoadAdapter({"one", kAdapter}, false).status();
  EXPECT_THAT(base::Message(rank), HasSubstr("at most 3"));

  // Room for one and a half.
  const int64_t bytes = engine->adapters().front().bytes;
  const auto tight =
      LoadOrDie({.threads = 1, .adapter_rank_max = 4, .adapter_bytes = bytes + bytes / 2});
  EXPECT_EQ(tight->info().bytes.adapters, bytes + bytes / 2);
  ASSERT_TRUE(tight->LoadAdapter({"one", kAdapter}, false).ok());
  EXPECT_EQ(tight->LoadAdapter({"two", kAdapter}, false).status().code(),
            absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(tight->UnloadAdapter("one").ok());
  EXPECT_TRUE(tight->LoadAdapter({"two", kAdapter}, false).ok());
}

TEST(AdaptersTest, RefusesAdaptersOfOtherModels) {
  EngineOptions options{.model = kModel, .threads = 1, .need_tokenizer = false};
  options.adapters = {{"other", kOfAnother}};
  const absl::Status status = Engine::Load(options).status();
  EXPECT_THAT(base::Message(status), HasSubstr("adapter_model.safetensors"));
  EXPECT_THAT(base::Message(status), HasSubstr("is this adapter for another model?"));
}

}  // namespace
}  // namespace inhouse::engine
