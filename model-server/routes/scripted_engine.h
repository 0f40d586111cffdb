// An engine for tests that answers what it is told: one byte of text for each token, when the test
// lets it.
#pragma once

#include <atomic>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "engine/include/engine/engine.h"

namespace inhouse::model_server {

inline constexpr engine::TokenId kEndToken = 256;

// Every byte is a token; <|end|> is token 256.
inline std::unique_ptr<engine::Tokenizer> ByteTokenizer() {
  engine::TokenizerSpec spec;
  spec.path = "scripted";
  // GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and above.
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174);
    const int code = plain ? byte : next++;
    std::string text;
    if (code < 0x80) {
      text.push_back(static_cast<char>(code));
    } else {
      text.push_back(static_cast<char>(0xC0 | (code >> 6)));
      text.push_back(static_cast<char>(0x80 | (code & 0x3F)));
    }
    spec.vocab.push_back(text);
  }
  spec.vocab.push_back("<|end|>");
  spec.added_tokens.push_back({.id = kEndToken, .content = "<|end|>", .special = true});
  spec.eos_id = kEndToken;
  auto tokenizer = engine::Tokenizer::Create(std::move(spec));
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// "role:content\n" for each message, then "assistant:". Completions: [reasoning "]"] content, and
// calls as "{name arguments}"; every Push must bring whole markers.
class ScriptedFormat : public engine::ChatFormat {
 public:
  absl::StatusOr<std::string> Render(const std::vector<engine::ChatMessage>& messages,
                                     const engine::ChatOptions& options) const override {
    std::string out;
    for (const auto& message : messages) {
      if (message.content == "refuse me") return absl::InvalidArgumentError("no such thing");
      out += message.role + ":" + message.content.value_or("") + "\n";
    }
    if (!options.tools.is_null()) out += "tools:" + options.tools.dump() + "\n";
    const bool think = options.variables.value("thinking", false);
    return out + (think ? "assistant:<think>" : "assistant:");
  }
  absl::StatusOr<std::string> RenderJson(std::string_view,
                                         const engine::ChatOptions&) const override {
    return absl::UnimplementedError("scripted");
  }
  engine::ParsedCompletion Parse(std::string_view, bool) const override { return {}; }
  std::unique_ptr<engine::CompletionStream> NewStream(bool prompt_ends_in_think) const override {
    return std::make_unique<Stream>(prompt_ends_in_think);
  }
  std::string_view name() const override { return "scripted"; }

 private:
  class Stream : public engine::CompletionStream {
   public:
    explicit Stream(bool reasons) : reasons_(reasons) {}
    engine::CompletionDelta Push(std::string_view text) override {
      engine::CompletionDelta delta;
      for (const char c : text) {
        if (reasons_ && c == ']') {
          reasons_ = false;
        } else if (reasons_) {
          delta.reasoning.push_back(c);
        } else if (c == '{' || !call_.empty()) {
          call_.push_back(c);
          if (c == '}') delta.tool_calls.push_back(TakeCall());
        } else {
          delta.content.push_back(c);
        }
      }
      return delta;
    }
    engine::CompletionDelta Finish() override { return {}; }

   private:
    engine::ToolCall TakeCall() {
      const std::string call = std::exchange(call_, "");
      const size_t space = call.find(' ');
      return {.name = call.substr(1, space - 1),
              .arguments = call.substr(space + 1, call.size() - space - 2)};
    }
    bool reasons_;
    std::string call_;
  };
};

class ScriptedEngine : public engine::Engine {
 public:
  // What it says and how; set before the first request.
  struct Script {
    std::string answer = "hello";
    int fail_after = -1;  // tokens, then kError
    int in_flight_max = 1000;
    bool hold = false;  // no token before Release
  };

  explicit ScriptedEngine(Script script) : script_(std::move(script)), tokenizer_(ByteTokenizer()) {
    info_.name = "scripted";
    info_.path = "scripted";
    info_.architecture = "test";
    info_.vocab_size = 257;
    info_.hidden_size = 3;
    info_.context_tokens = 100;
    info_.end_tokens = {kEndToken};
    held_ = script_.hold;
    thread_ = std::thread([this] { Loop(); });
  }
  ~ScriptedEngine() override {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
    }
    thread_.join();
  }

  absl::StatusOr<std::unique_ptr<engine::Session>> Submit(engine::GenerateRequest request,
                                                          engine::EventCallback on_event) override {
    absl::MutexLock lock(&mutex_);
    if (draining_) return absl::UnavailableError("draining");
    if (in_flight_ >= script_.in_flight_max) return absl::ResourceExhaustedError("queue is full");
    ++in_flight_;
    auto flag = std::make_shared<std::atomic<bool>>(false);
    requests_.push_back({std::move(request), std::move(on_event), flag});
    return std::make_unique<Session>(this, flag);
  }
  void Drain(double seconds_max) override {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return in_flight_ == 0; };
    mutex_.AwaitWithTimeout(absl::Condition(&idle), absl::Seconds(seconds_max));
  }
  absl::StatusOr<std::vector<std::vector<float>>> Logits(std::span<const engine::TokenId>,
                                                         const engine::LogitsOptions&) override {
    return absl::UnimplementedError("scripted");
  }
  // Adapters that are but names; the path "broken" is refused.
  absl::StatusOr<engine::AdapterInfo> LoadAdapter(const engine::AdapterSource& source,
                                                  bool replace) override {
    absl::MutexLock lock(&mutex_);
    if (source.path.ends_with("broken")) return absl::InvalidArgumentError("adapter: broken");
    if (adapters_.contains(source.name) && !replace)
      return absl::AlreadyExistsError("there is one");
    if (adapters_.size() == 2) return absl::ResourceExhaustedError("adapters: 2 loaded");
    return adapters_[source.name] = {.name = source.name, .path = source.path};
  }
  absl::Status UnloadAdapter(const std::string& name) override {
    absl::MutexLock lock(&mutex_);
    return adapters_.erase(name) > 0 ? absl::OkStatus() : absl::NotFoundError("no such adapter");
  }
  std::vector<engine::AdapterInfo> adapters() const override {
    absl::MutexLock lock(&mutex_);
    std::vector<engine::AdapterInfo> out;
    for (const auto& [name, info] : adapters_) out.push_back(info);
    return out;
  }
  const engine::ModelInfo& info() const override { return info_; }
  engine::EngineStats stats() const override { return {}; }
  engine::StepProfile profile() const override { return {}; }
  const engine::Tokenizer* tokenizer() const override { return tokenizer_.get(); }
  const engine::ChatFormat* chat_format() const override { return &format_; }

  void Release() {
    absl::MutexLock lock(&mutex_);
    held_ = false;
  }
  // Waits until so many requests were cancelled.
  bool AwaitCancelled(int count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return cancelled_ >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20));
  }
  bool AwaitInFlight(int count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return in_flight_ == count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20));
  }
  engine::GenerateRequest last_request() {
    absl::MutexLock lock(&mutex_);
    return last_request_;
  }

 private:
  struct Item {
    engine::GenerateRequest request;
    engine::EventCallback on_event;
    std::shared_ptr<std::atomic<bool>> cancelled;
  };
  class Session : public engine::Session {
   public:
    Session(ScriptedEngine* engine, std::shared_ptr<std::atomic<bool>> flag)
        : engine_(engine), flag_(std::move(flag)) {}
    ~Session() override { Cancel(); }
    void Cancel() override {
      absl::MutexLock lock(&engine_->mutex_);  // wakes the engine's condition
      *flag_ = true;
    }

   private:
    ScriptedEngine* engine_;
    std::shared_ptr<std::atomic<bool>> flag_;
  };

  void Loop() {
    while (true) {
      Item item;
      {
        absl::MutexLock lock(&mutex_);
        const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
          return stop_ || (!requests_.empty() && (!held_ || *requests_.front().cancelled));
        };
        mutex_.Await(absl::Condition(&ready));
        if (stop_) return;
        item = std::move(requests_.front());
        requests_.pop_front();
        last_request_ = item.request;
      }
      const bool cancelled = !Answer(item);
      absl::MutexLock lock(&mutex_);
      --in_flight_;
      if (cancelled) ++cancelled_;
    }
  }

  // False if it was cancelled on the way.
  bool Answer(const Item& item) {
    engine::TokenEvent event;
    if (item.request.pooling) {
      event.usage.prompt_tokens = static_cast<int64_t>(item.request.prompt_ids.size());
      // The ids themselves, and how they were to be pooled.
      event.embedding = {static_cast<float>(item.request.prompt_ids.front()),
                         static_cast<float>(item.request.prompt_ids.back()),
                         item.request.pooling == engine::Pooling::kMean ? 0.0F : 1.0F};
      event.finish = engine::FinishReason::kStop;
      item.on_event(std::move(event));
      return true;
    }
    event.usage.prompt_tokens = static_cast<int64_t>(item.request.prompt_ids.size());
    event.usage.cached_tokens = 1;
    if (item.request.prompt_logprobs) {
      engine::TokenEvent prompt = event;
      for (const engine::TokenId id : item.request.prompt_ids) {
        prompt.prompt_logprobs.push_back(Score(id, item.request.logprobs));
      }
      prompt.prompt_logprobs[0].logprob = std::numeric_limits<float>::quiet_NaN();
      item.on_event(prompt);
    }
    const auto length =
        std::min(static_cast<int64_t>(script_.answer.size()), item.request.max_tokens);
    for (int64_t i = 0; i < length; ++i) {
      if (*item.cancelled) return End(item, event, engine::FinishReason::kCancelled);
      if (i == script_.fail_after) {
        event.error = absl::InternalError("the machine is on fire");
        return End(item, event, engine::FinishReason::kError);
      }
      const char c = script_.answer[static_cast<size_t>(i)];
      event.ids = {static_cast<unsigned char>(c)};
      event.text = std::string(1, c);
      event.logprobs.clear();
      if (item.request.logprobs >= 0) {
        event.logprobs = {Score(event.ids[0], item.request.logprobs)};
      }
      event.usage.completion_tokens = i + 1;
      item.on_event(event);
    }
    if (*item.cancelled) return End(item, event, engine::FinishReason::kCancelled);
    const bool whole = length == static_cast<int64_t>(script_.answer.size());
    return End(item, event, whole ? engine::FinishReason::kStop : engine::FinishReason::kLength);
  }

  static bool End(const Item& item, engine::TokenEvent event, engine::FinishReason reason) {
    event.ids.clear();
    event.text.clear();
    event.logprobs.clear();
    event.finish = reason;
    item.on_event(std::move(event));
    return reason != engine::FinishReason::kCancelled;
  }

  static engine::TokenLogprob Score(engine::TokenId id, int alternatives) {
    engine::TokenLogprob score{.id = id, .logprob = -static_cast<float>(id) / 100};
    for (int i = 0; i < alternatives; ++i) {
      score.top.emplace_back(i == 0 ? id : i, -static_cast<float>(i + id) / 100);
    }
    return score;
  }

  const Script script_;
  const std::unique_ptr<engine::Tokenizer> tokenizer_;
  const ScriptedFormat format_;
  engine::ModelInfo info_;
  mutable absl::Mutex mutex_;
  std::map<std::string, engine::AdapterInfo> adapters_ ABSL_GUARDED_BY(mutex_);
  std::deque<Item> requests_ ABSL_GUARDED_BY(mutex_);
  engine::GenerateRequest last_request_ ABSL_GUARDED_BY(mutex_);
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  int cancelled_ ABSL_GUARDED_BY(mutex_) = 0;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace inhouse::model_server
