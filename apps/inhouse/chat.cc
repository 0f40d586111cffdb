// inhouse chat: a conversation in the terminal.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/line_input.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

constexpr const char* kHelp =
    "/help           this page\n"
    "/new            start over\n"
    "/system TEXT    set the system message and start over\n"
    "/think on|off   ask the model to reason first, or not to (if its template knows how)\n"
    "/stats          speed and length of the last answer\n"
    "/quit           end (also Ctrl-D)\n"
    "End a line with \\ to go on in the next one. Ctrl-C stops an answer.\n";

struct ChatFlags {
  engine::EngineOptions engine;
  SamplingFlags sampling;
  std::string system;
  int64_t max_tokens = 4096;
};

class Conversation {
 public:
  Conversation(engine::Engine& engine, const ChatFlags& flags)
      : engine_(engine), flags_(flags), system_(flags.system) {
    const engine::Tokenizer& tokenizer = *engine.tokenizer();
    if (tokenizer.bos()) options_.bos_token = tokenizer.TokenBytes(*tokenizer.bos());
    if (tokenizer.eos()) options_.eos_token = tokenizer.TokenBytes(*tokenizer.eos());
    Reset();
  }

  // Handles a /command. False: end the conversation.
  bool Command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/quit" || name == "/exit" || name == "/bye") return false;
    if (name == "/new" || name == "/clear") {
      Reset();
    } else if (name == "/system") {
      system_ = argument;
      Reset();
    } else if (name == "/think" && (argument == "on" || argument == "off")) {
      options_.variables["enable_thinking"] = argument == "on";
      options_.variables["thinking"] = argument == "on";
    } else if (name == "/stats") {
      PrintStats();
    } else {
      if (name != "/help" && name != "/?") fmt::print("unknown command {}\n", name);
      fmt::print("{}", kHelp);
    }
    return true;
  }

  absl::Status Say(const std::string& text) {
    messages_.push_back({.role = "user", .content = text});
    absl::Status status = Answer();
    if (!status.ok()) messages_.pop_back();
    return status;
  }

 private:
  void Reset() {
    messages_.clear();
    if (!system_.empty()) messages_.push_back({.role = "system", .content = system_});
  }

  absl::Status Answer() {
    INHOUSE_ASSIGN_OR_RETURN(const std::string prompt,
                             engine_.chat_format()->Render(messages_, options_));
    engine::GenerateRequest request;
    request.prompt_ids = engine_.tokenizer()->Encode(prompt);
    request.adapter = AdapterOf(engine_);
    request.sampling = flags_.sampling.Apply(engine_.info().default_sampling);
    request.max_tokens = flags_.max_tokens;
    request.skip_special_tokens = false;  // reasoning and call markers may be special tokens
    const auto stream = engine_.chat_format()->NewStream(engine::PromptEndsInThink(prompt));
    engine::ChatMessage answer{.role = "assistant", .content = ""};
    const auto show = [&answer](const engine::CompletionDelta& delta) {
      if (!delta.reasoning.empty()) {
        answer.reasoning = answer.reasoning.value_or("") + delta.reasoning;
        fmt::print("{}", Dim(delta.reasoning, stdout));
      }
      if (!delta.content.empty()) {
        if (answer.content->empty() && answer.reasoning) fmt::print("\n\n");
        *answer.content += delta.content;
        fmt::print("{}", delta.content);
      }
      for (const engine::ToolCall& call : delta.tool_calls) {
        answer.tool_calls.push_back(call);
        fmt::print("[{}({})]\n", call.name, call.arguments);
      }
      std::fflush(stdout);
    };
    INHOUSE_ASSIGN_OR_RETURN(
        last_, RunToEnd(engine_, std::move(request),
                        [&](const engine::TokenEvent& event) { show(stream->Push(event.text)); }));
    show(stream->Finish());
    fmt::print("\n");
    messages_.push_back(std::move(answer));
    return absl::OkStatus();
  }

  void PrintStats() const {
    if (!last_) return;
    const auto rate = [](int64_t n, double ms) {
      return ms > 0 ? static_cast<double>(n) * 1000 / ms : 0;
    };
    fmt::print(
        "prompt {} tokens, {:.1f} tokens/s; answer {} tokens, {:.1f} tokens/s; context {} of {}\n",
        last_->usage.prompt_tokens, rate(last_->usage.prompt_tokens, last_->timings.prefill_ms),
        last_->usage.completion_tokens,
        rate(last_->usage.completion_tokens - 1, last_->timings.decode_ms),
        last_->usage.prompt_tokens + last_->usage.completion_tokens, engine_.info().context_tokens);
  }

  engine::Engine& engine_;
  const ChatFlags& flags_;
  std::string system_;
  engine::ChatOptions options_;
  std::vector<engine::ChatMessage> messages_;
  std::optional<engine::TokenEvent> last_;
};

absl::Status Chat(ChatFlags& flags) {
  flags.engine.max_sequences = 1;
  INHOUSE_ASSIGN_OR_RETURN(const auto engine, LoadEngine(flags.engine));
  if (engine->chat_format() == nullptr) {
    return base::InvalidInput(
        {.file = engine->info().path,
         .expected = "a chat template (tokenizer_config.json, chat_template.jinja or GGUF)",
         .hint = "Use `inhouse generate` for models without one."});
  }
  if (IsTerminal(stdin))
    fmt::print(stderr, "{}: /help for help, Ctrl-D to end\n", engine->info().name);
  Conversation conversation(*engine, flags);
  LineInput input;
  while (!Interrupted()) {
    const std::optional<std::string> line = input.Read(">>> ");
    if (!line) break;
    if (line->find_first_not_of(" \t") == std::string::npos) continue;
    if (line->front() == '/') {
      if (!conversation.Command(*line)) break;
      continue;
    }
    const absl::Status status = conversation.Say(*line);
    if (!status.ok()) {
      if (!IsTerminal(stdin)) return status;
      ReportError(status, false);  // a conversation goes on after an error
    }
    ClearInterrupt();  // Ctrl-C stopped the answer, not the conversation
  }
  return absl::OkStatus();
}

}  // namespace

VerbRun SetUpChat(CLI::App& app) {
  auto flags = std::make_shared<ChatFlags>();
  AddEngineFlags(app, &flags->engine);
  AddAdapterFlag(app, &flags->engine);
  app.add_option("--system", flags->system, "the system message");
  app.add_option("-n,--max-tokens", flags->max_tokens, "length of an answer at most")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
  flags->sampling.Add(app);
  return [flags] {
    const absl::Status status = Chat(*flags);
    return status.ok() ? int{kDone} : ReportError(status, false);
  };
}

}  // namespace inhouse::apps
