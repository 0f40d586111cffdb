#include "apps/inhouse/calibration_tokens.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/runtime/tokenizer_loader.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

constexpr uint64_t kTextBytesMax = 64ULL << 20;
constexpr int64_t kAnswersAtOnce = 16;

// What the answers of a batch have so far. Written on the engine thread.
struct Batch {
  absl::Mutex mutex;
  std::vector<std::vector<engine::TokenId>> answers ABSL_GUARDED_BY(mutex);
  size_t open ABSL_GUARDED_BY(mutex) = 0;
  absl::Status error ABSL_GUARDED_BY(mutex);

  void Take(size_t index, const engine::TokenEvent& event) {
    const absl::MutexLock lock(&mutex);
    answers[index].insert(answers[index].end(), event.ids.begin(), event.ids.end());
    if (event.finish == engine::FinishReason::kNone) return;
    if (event.finish == engine::FinishReason::kError) error.Update(event.error);
    --open;
  }
};

// Answers `begin`, `begin` + 1, ...; each begins with one token: BOS, or, for a model that has
// none, tokens spread over the vocabulary.
absl::Status Generate(engine::Engine& engine, const OwnTokensOptions& options, int64_t begin,
                      int64_t count, std::vector<engine::TokenId>* out) {
  auto batch = std::make_shared<Batch>();
  {
    const absl::MutexLock lock(&batch->mutex);
    batch->answers.resize(static_cast<size_t>(count));
    batch->open = static_cast<size_t>(count);
  }
  const engine::Tokenizer* tokenizer = engine.tokenizer();
  std::vector<std::unique_ptr<engine::Session>> sessions;
  for (int64_t i = 0; i < count; ++i) {
    const bool has_bos = tokenizer != nullptr && tokenizer->bos().has_value();
    const auto spread = static_cast<engine::TokenId>((begin + i) * 7919 % engine.info().vocab_size);
    engine::GenerateRequest request;
    request.prompt_ids = {has_bos ? *tokenizer->bos() : spread};
    request.sampling.seed = static_cast<uint64_t>(begin + i);
    request.max_tokens = options.length - 1;
    request.ignore_eos = true;  // behind the end of a text another one begins
    {
      const absl::MutexLock lock(&batch->mutex);
      batch->answers[static_cast<size_t>(i)] = request.prompt_ids;
    }
    INHOUSE_ASSIGN_OR_RETURN(
        auto session,
        engine.Submit(std::move(request), [batch, i](const engine::TokenEvent& event) {
          batch->Take(static_cast<size_t>(i), event);
        }));
    sessions.push_back(std::move(session));
  }
  const absl::MutexLock lock(&batch->mutex);
  const auto done = [&batch]()
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(batch->mutex) { return batch->open == 0; };
  while (!batch->mutex.AwaitWithTimeout(absl::Condition(&done), absl::Milliseconds(100))) {
    if (Interrupted()) return absl::CancelledError("interrupted");
  }
  INHOUSE_RETURN_IF_ERROR(batch->error);
  for (const auto& answer : batch->answers) out->insert(out->end(), answer.begin(), answer.end());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<engine::TokenId>> TokensOfText(const engine::Checkpoint& checkpoint,
                                                          const std::string& file, int64_t count,
                                                          int64_t least) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(file, kTextBytesMax));
  INHOUSE_ASSIGN_OR_RETURN(const auto tokenizer, engine::LoadTokenizer(checkpoint));
  std::vector<engine::TokenId> tokens = tokenizer->Encode(text);
  tokens.resize(std::min(tokens.size(), static_cast<size_t>(count)));
  if (static_cast<int64_t>(tokens.size()) < least) {
    return base::InvalidInput({.file = file,
                               .value = fmt::format("{} tokens", tokens.size()),
                               .expected = fmt::format("{} tokens of text at least", least)});
  }
  return tokens;
}

absl::StatusOr<std::vector<engine::TokenId>> OwnTokens(const OwnTokensOptions& options) {
  engine::EngineOptions load;
  load.model = options.model;
  load.isa = options.isa;
  load.threads = options.threads;
  load.packed = "off";
  load.need_tokenizer = false;
  load.max_sequences = static_cast<int>(kAnswersAtOnce);
  load.context_tokens = options.length;
  load.kv_tokens = options.length * kAnswersAtOnce;
  INHOUSE_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Engine> engine, LoadEngine(load));
  OwnTokensOptions fitted = options;
  fitted.length = std::min(options.length, engine->info().context_tokens);
  if (fitted.length < 2) {
    return base::InvalidInput({.file = options.model,
                               .field = "context",
                               .value = fmt::format("{}", fitted.length),
                               .expected = "room for two tokens"});
  }
  const int64_t answers = (options.count + fitted.length - 1) / fitted.length;
  ProgressBar bar("writing a text", ProgressBar::Unit::kCount);
  std::vector<engine::TokenId> tokens;
  for (int64_t begin = 0; begin < answers; begin += kAnswersAtOnce) {
    bar.Set(static_cast<uint64_t>(begin), static_cast<uint64_t>(answers));
    INHOUSE_RETURN_IF_ERROR(
        Generate(*engine, fitted, begin, std::min(kAnswersAtOnce, answers - begin), &tokens));
  }
  bar.Finish();
  return tokens;
}

}  // namespace inhouse::apps
