// inhouse generate: one prompt, one answer.
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/verb.h"
#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

struct GenerateFlags {
  engine::EngineOptions engine;
  SamplingFlags sampling;
  std::string prompt;
  std::string prompt_file;
  std::string ids;
  std::string ids_file;
  std::string system;
  bool chat = false;
  int64_t max_tokens = 256;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  bool json = false;
};

const char* FinishName(engine::FinishReason reason) {
  switch (reason) {
    case engine::FinishReason::kNone:
      return "none";
    case engine::FinishReason::kStop:
      return "stop";
    case engine::FinishReason::kLength:
      return "length";
    case engine::FinishReason::kCancelled:
      return "cancelled";
    case engine::FinishReason::kError:
      return "error";
  }
  return "unknown";
}

// The prompt's ids from whichever flag gives it.
absl::StatusOr<std::vector<engine::TokenId>> PromptIds(const GenerateFlags& flags,
                                                       const engine::Engine& engine) {
  if (!flags.ids.empty() || !flags.ids_file.empty()) return ParseIds(flags.ids, flags.ids_file);
  std::string text = flags.prompt;
  if (!flags.prompt_file.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(text, base::ReadFile(flags.prompt_file));
  }
  const engine::Tokenizer* tokenizer = engine.tokenizer();
  if (tokenizer == nullptr) {
    return base::InvalidInput({.file = engine.info().path,
                               .expected = "a tokenizer",
                               .hint = "Give the prompt as --ids."});
  }
  if (!flags.chat) return tokenizer->Encode(text, {.add_special_tokens = true});
  if (engine.chat_format() == nullptr) {
    return base::InvalidInput(
        {.file = engine.info().path, .expected = "a chat template", .hint = "Leave --chat away."});
  }
  std::vector<engine::ChatMessage> messages;
  if (!flags.system.empty()) messages.push_back({.role = "system", .content = flags.system});
  messages.push_back({.role = "user", .content = text});
  engine::ChatOptions options;
  if (tokenizer->bos()) options.bos_token = tokenizer->TokenBytes(*tokenizer->bos());
  if (tokenizer->eos()) options.eos_token = tokenizer->TokenBytes(*tokenizer->eos());
  INHOUSE_ASSIGN_OR_RETURN(const std::string rendered,
                           engine.chat_format()->Render(messages, options));
  return tokenizer->Encode(rendered);
}

double PerSecond(int64_t count, double ms) {
  return ms > 0 ? static_cast<double>(count) * 1000 / ms : 0;
}

void PrintJson(const engine::TokenEvent& last, const std::string& text,
               const std::vector<engine::TokenId>& ids, const engine::LoadReport& load) {
  const engine::Usage& usage = last.usage;
  const nlohmann::ordered_json out = {
      {"text", text},
      {"ids", ids},
      {"finish_reason", FinishName(last.finish)},
      {"usage",
       {{"prompt_tokens", usage.prompt_tokens},
        {"cached_tokens", usage.cached_tokens},
        {"completion_tokens", usage.completion_tokens},
        {"total_tokens", usage.prompt_tokens + usage.completion_tokens}}},
      {"timings",
       {{"prompt_ms", last.timings.prefill_ms},
        {"generated_ms", last.timings.decode_ms},
        {"prompt_tokens_per_second",
         PerSecond(usage.prompt_tokens - usage.cached_tokens, last.timings.prefill_ms)},
        {"generated_tokens_per_second",
         PerSecond(usage.completion_tokens - 1, last.timings.decode_ms)}}},
      {"load", LoadJson(load)}};
  std::printf("%s\n",
              out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void PrintTimings(const engine::TokenEvent& last) {
  fmt::print(stderr, "\nprompt {} tokens, {:.1f} tokens/s; answer {} tokens, {:.1f} tokens/s\n",
             last.usage.prompt_tokens, PerSecond(last.usage.prompt_tokens, last.timings.prefill_ms),
             last.usage.completion_tokens,
             PerSecond(last.usage.completion_tokens - 1, last.timings.decode_ms));
}

absl::Status Generate(GenerateFlags& flags) {
  flags.engine.max_sequences = 1;
  flags.engine.need_tokenizer = flags.ids.empty() && flags.ids_file.empty();
  INHOUSE_ASSIGN_OR_RETURN(const auto engine, LoadEngine(flags.engine));
  engine::GenerateRequest request;
  INHOUSE_ASSIGN_OR_RETURN(request.prompt_ids, PromptIds(flags, *engine));
  request.adapter = AdapterOf(*engine);
  request.sampling = flags.sampling.Apply(engine->info().default_sampling);
  request.max_tokens = flags.max_tokens;
  request.stop = flags.stop;
  request.ignore_eos = flags.ignore_eos;
  std::string text;
  std::vector<engine::TokenId> ids;
  INHOUSE_ASSIGN_OR_RETURN(
      const engine::TokenEvent last,
      RunToEnd(*engine, std::move(request), [&](const engine::TokenEvent& event) {
        text += event.text;
        ids.insert(ids.end(), event.ids.begin(), event.ids.end());
        if (flags.json) return;
        std::fwrite(event.text.data(), 1, event.text.size(), stdout);
        std::fflush(stdout);
      }));
  if (last.finish == engine::FinishReason::kCancelled) return absl::CancelledError("interrupted");
  if (flags.json) {
    PrintJson(last, text, ids, engine->info().load);
  } else {
    std::fputs("\n", stdout);
    PrintTimings(last);
  }
  return absl::OkStatus();
}

}  // namespace

VerbRun SetUpGenerate(CLI::App& app) {
  auto flags = std::make_shared<GenerateFlags>();
  AddEngineFlags(app, &flags->engine);
  AddAdapterFlag(app, &flags->engine);
  auto* source = app.add_option_group("prompt", "where the prompt comes from");
  source->add_option("-p,--prompt", flags->prompt, "the text to continue");
  source->add_option("--prompt-file", flags->prompt_file, "a file with the text");
  source->add_option("--ids", flags->ids, "token ids: 1,2,3");
  source->add_option("--ids-file", flags->ids_file,
                     "a file with a JSON array of token ids (- = standard input)");
  source->require_option(1);
  app.add_flag("--chat", flags->chat,
               "take the prompt as a user's message and apply the model's chat template");
  app.add_option("--system", flags->system, "with --chat: the system message");
  app.add_option("-n,--max-tokens", flags->max_tokens, "length of the answer at most")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 32));
  flags->sampling.Add(app);
  app.add_option("--stop", flags->stop,
                 "end the answer before this text (may be given several times)");
  app.add_flag("--ignore-eos", flags->ignore_eos, "go on after an end token");
  app.add_flag("--json", flags->json, "print one JSON object instead of the text");
  return [flags] {
    const absl::Status status = Generate(*flags);
    return status.ok() ? int{kDone} : ReportError(status, flags->json);
  };
}

}  // namespace inhouse::apps
