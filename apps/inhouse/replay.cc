// inhouse replay: a recorded answer, computed again and compared byte for byte.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/verb.h"
#include "base/build_id.h"
#include "base/status.h"
#include "engine/formats/model_digest.h"
#include "engine/runtime/bind_options.h"
#include "fmt/format.h"
#include "lifecycle/registry/resolve.h"
#include "model-server/api/record.h"
#include "model-server/routes/recorder.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using model_server::AnswerRecord;
using model_server::RecordedEngine;
using model_server::SequenceOutput;
using model_server::SequenceRecord;

struct ReplayFlags {
  std::string id;
  std::string directory;
  std::string adapter;
  engine::EngineOptions engine;
  bool json = false;
};

// Something that the same bytes need and that is not what it was.
struct Change {
  std::string what;
  std::string recorded;
  std::string now;
};

// So many tokens as the answer had, and where it ended by itself one more to end with: whatever the
// client allowed beyond needs no room here.
int64_t TokensFor(const SequenceRecord& sequence) {
  const auto tokens = static_cast<int64_t>(sequence.output.ids.size());
  const int64_t end = sequence.output.finish_reason == "stop" ? 1 : 0;
  return std::min(tokens + end, sequence.request.max_tokens);
}

absl::Status CheckModel(const std::string& model, const RecordedEngine& recorded) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string path, lifecycle::ResolveModel(model));
  INHOUSE_ASSIGN_OR_RETURN(const auto checkpoint, engine::Checkpoint::Open(path));
  const std::string digest = engine::ModelDigest(*checkpoint);
  if (digest == recorded.model_sha256) return absl::OkStatus();
  return base::InputError(
      absl::StatusCode::kFailedPrecondition,
      {.file = path,
       .field = "model",
       .value = digest.substr(0, 12),
       .expected = fmt::format("the model that gave the recorded answer, {} ({})",
                               recorded.model_sha256.substr(0, 12), recorded.model_path),
       .hint = "--model says where it is now."});
}

// As the record asks: the same model, adapter and level, and room for its sequences.
absl::StatusOr<std::unique_ptr<engine::Engine>> LoadFor(const AnswerRecord& record,
                                                        const ReplayFlags& flags) {
  engine::EngineOptions options = flags.engine;
  const RecordedEngine& recorded = record.engine;
  if (options.model.empty()) options.model = recorded.model_path;
  INHOUSE_RETURN_IF_ERROR(CheckModel(options.model, recorded));
  if (options.isa.empty()) {
    options.isa = recorded.isa;
    if (!engine::BindOptionsOf(options).ok()) options.isa.clear();  // another machine
  }
  options.kv_type = recorded.kv_type;
  options.activation_bits = recorded.activation_bits;
  options.max_sequences = 1;
  if (!recorded.adapter.name.empty()) {
    options.adapters = {recorded.adapter};
    if (!flags.adapter.empty()) options.adapters[0].path = flags.adapter;
  }
  for (const SequenceRecord& sequence : record.sequences) {
    const auto prompt = static_cast<int64_t>(sequence.request.prompt_ids.size());
    options.context_tokens = std::max(options.context_tokens, prompt + TokensFor(sequence));
  }
  INHOUSE_ASSIGN_OR_RETURN(auto engine, LoadEngine(options));
  for (const engine::AdapterInfo& adapter : engine->adapters()) {
    if (adapter.fingerprint == recorded.adapter_sha256) continue;
    return base::InputError(
        absl::StatusCode::kFailedPrecondition,
        {.file = adapter.path,
         .field = "adapter",
         .value = adapter.fingerprint.substr(0, 12),
         .expected = fmt::format("the adapter that gave the recorded answer, {}",
                                 recorded.adapter_sha256.substr(0, 12)),
         .hint = "--adapter says where it is now."});
  }
  return engine;
}

std::vector<Change> ChangesSince(const RecordedEngine& recorded, const engine::Engine& engine) {
  std::vector<Change> changes;
  const auto compare = [&changes](const char* what, const std::string& then,
                                  const std::string& now) {
    if (then != now) changes.push_back({what, then, now});
  };
  compare("version", recorded.version, INHOUSE_VERSION);
  compare("commit", recorded.commit, INHOUSE_COMMIT);
  compare("build", recorded.build, base::BuildId());
  compare("isa", recorded.isa, engine.info().isa);
  return changes;
}

// "" if the sequence came out as it was recorded, else the first difference.
absl::StatusOr<std::string> Replay(engine::Engine& engine, const SequenceRecord& recorded) {
  engine::GenerateRequest request = recorded.request;
  request.max_tokens = TokensFor(recorded);
  request.min_tokens = std::min(request.min_tokens, request.max_tokens);
  SequenceOutput output;
  INHOUSE_ASSIGN_OR_RETURN(
      const engine::TokenEvent last,
      RunToEnd(engine, std::move(request),
               [&output](const engine::TokenEvent& event) { output.Append(event); }));
  if (last.finish == engine::FinishReason::kCancelled) return absl::CancelledError("interrupted");
  return FirstDifference(output, recorded.output);
}

void PrintResult(const AnswerRecord& record, const std::string& difference,
                 const std::vector<Change>& changes, bool as_json) {
  int64_t prompt = 0;
  int64_t answer = 0;
  for (const SequenceRecord& sequence : record.sequences) {
    prompt += static_cast<int64_t>(sequence.request.prompt_ids.size());
    answer += static_cast<int64_t>(sequence.output.ids.size());
  }
  if (as_json) {
    nlohmann::ordered_json out = {{"id", record.id},
                                  {"request_id", record.request_id},
                                  {"same", difference.empty()},
                                  {"choices", record.sequences.size()},
                                  {"prompt_tokens", prompt},
                                  {"answer_tokens", answer},
                                  {"changed", nlohmann::ordered_json::object()}};
    if (!difference.empty()) out["difference"] = difference;
    for (const Change& change : changes) {
      out["changed"][change.what] = {{"recorded", change.recorded}, {"now", change.now}};
    }
    std::printf("%s\n", out.dump().c_str());
    return;
  }
  const std::string result = difference.empty()
                                 ? fmt::format("the same bytes ({} choices, {} + {} tokens)",
                                               record.sequences.size(), prompt, answer)
                                 : difference;
  std::printf("%s: %s\n", record.id.c_str(), result.c_str());
  for (const Change& change : changes) {
    std::printf("  %s: %s recorded, %s now\n", change.what.c_str(), change.recorded.c_str(),
                change.now.c_str());
  }
  if (!difference.empty() && !changes.empty()) {
    std::printf("The same bytes are promised for the same build and kernel level only.\n");
  }
}

absl::StatusOr<int> RunReplay(const ReplayFlags& flags) {
  INHOUSE_ASSIGN_OR_RETURN(const AnswerRecord record,
                           model_server::FindRecord(flags.directory, flags.id));
  INHOUSE_ASSIGN_OR_RETURN(const auto engine, LoadFor(record, flags));
  std::string difference;
  for (size_t i = 0; i < record.sequences.size() && difference.empty(); ++i) {
    INHOUSE_ASSIGN_OR_RETURN(difference, Replay(*engine, record.sequences[i]));
    if (!difference.empty()) difference = fmt::format("choice {}, {}", i, difference);
  }
  PrintResult(record, difference, ChangesSince(record.engine, *engine), flags.json);
  return int{difference.empty() ? kDone : kFailed};
}

}  // namespace

VerbRun SetUpReplay(CLI::App& app) {
  auto flags = std::make_shared<ReplayFlags>();
  app.add_option("id", flags->id, "of the answer (chatcmpl-..., cmpl-...), or its x-request-id")
      ->required();
  app.add_option("--record", flags->directory, "directory that `inhouse serve --record` wrote")
      ->required();
  app.add_option("-m,--model", flags->engine.model,
                 "the model, if it is no longer where it was (default: the recorded path)");
  app.add_option("--adapter", flags->adapter,
                 "the adapter's directory, if it is no longer where it was");
  app.add_option("-t,--threads", flags->engine.threads,
                 "threads (default: the physical cores that the process may use)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--isa", flags->engine.isa,
                 "kernel level (default: the recorded one, if this machine has it)");
  app.add_flag("--json", flags->json, "print one JSON object");
  return [flags] {
    const absl::StatusOr<int> code = RunReplay(*flags);
    return code.ok() ? *code : ReportError(code.status(), flags->json);
  };
}

}  // namespace inhouse::apps
