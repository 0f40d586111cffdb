// inhouse quantize: a checkpoint in fewer bytes, in the format that others read too.
#include "engine/quantize/quantize.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/inhouse/calibration_tokens.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/file.h"
#include "base/status.h"
#include "base/thread_team.h"
#include "engine/formats/checkpoint.h"
#include "engine/quantize/tokenizer_files.h"
#include "engine/runtime/byte_plan.h"
#include "engine/runtime/tokenizer_loader.h"
#include "fmt/format.h"
#include "lifecycle/registry/resolve.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using nlohmann::ordered_json;

constexpr uint64_t kSideFileBytesMax = 256ULL << 20;
constexpr const char* kOwnText = "self";  // values of --calibrate that are no files
constexpr const char* kNoText = "none";

struct QuantizeFlags {
  std::string model;
  std::string to;
  std::string out;
  std::string calibrate;
  std::string isa;
  int64_t group = 128;
  int64_t shard_bytes = int64_t{5} << 30;
  int64_t calibrate_tokens = 16384;
  int threads = 0;
  bool force = false;
  bool json = false;
};

engine::QuantFormat FormatOf(const std::string& name) {
  for (const auto format : {engine::QuantFormat::kBF16, engine::QuantFormat::kFp8,
                            engine::QuantFormat::kInt8, engine::QuantFormat::kInt4}) {
    if (engine::Name(format) == name) return format;
  }
  return engine::QuantFormat::kFp8;  // CLI11 has checked the name
}

// What a Hugging Face directory has beside weights and configuration.
absl::StatusOr<std::vector<engine::SideFile>> CopiedFiles(const std::string& directory) {
  std::vector<engine::SideFile> files;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
                           "chat_template.jinja", "chat_template.json"}) {
    const std::string path = (std::filesystem::path(directory) / name).string();
    std::error_code error;
    if (!std::filesystem::exists(path, error)) continue;
    INHOUSE_ASSIGN_OR_RETURN(std::string content, base::ReadFile(path, kSideFileBytesMax));
    files.push_back({name, std::move(content)});
  }
  return files;
}

// The tokenizer of a GGUF file; a model without one is written without one.
absl::StatusOr<std::vector<engine::SideFile>> MadeFiles(const engine::GgufMetadata& gguf) {
  const absl::StatusOr<engine::TokenizerSpec> spec = engine::TokenizerSpecOf(gguf);
  if (absl::IsNotFound(spec.status())) return std::vector<engine::SideFile>();
  if (!spec.ok()) return spec.status();
  const auto text = [](const ordered_json& json, int indent) {
    return json.dump(indent, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  };
  return std::vector<engine::SideFile>{
      {"tokenizer.json", text(engine::TokenizerJson(*spec), -1)},
      {"tokenizer_config.json", text(engine::TokenizerConfigJson(*spec), 2)}};
}

// What --calibrate says; none for "none".
absl::StatusOr<std::optional<engine::CalibrationOptions>> ReadCalibration(
    const engine::Checkpoint& checkpoint, const QuantizeFlags& flags) {
  if (flags.calibrate.empty() || flags.calibrate == kNoText) return std::nullopt;
  engine::CalibrationOptions options;
  if (flags.calibrate == kOwnText) {
    INHOUSE_ASSIGN_OR_RETURN(options.tokens, OwnTokens({.model = flags.model,
                                                        .isa = flags.isa,
                                                        .threads = flags.threads,
                                                        .count = flags.calibrate_tokens,
                                                        .length = options.window}));
  } else {
    INHOUSE_ASSIGN_OR_RETURN(options.tokens, TokensOfText(checkpoint, flags.calibrate,
                                                          flags.calibrate_tokens, options.window));
  }
  // Half of what is left after the model: the factor of a matrix takes as much again.
  int64_t weights = 0;
  for (const auto& [name, tensor] : checkpoint.tensors.tensors()) {
    weights += static_cast<int64_t>(tensor.view.bytes.size());
  }
  options.bytes_max = std::max<int64_t>((engine::AvailableMemory() - weights) / 4, 64 << 20);
  return options;
}

class Progress {
 public:
  bool Show(const engine::QuantizeProgress& progress) {
    const bool encode = progress.phase == engine::QuantizeProgress::Phase::kEncode;
    bar_.SetLabel(encode ? "quantizing" : "calibrating");
    bar_.Set(static_cast<uint64_t>(progress.done), static_cast<uint64_t>(progress.total));
    return !Interrupted();
  }
  void Finish() { bar_.Finish(); }

 private:
  ProgressBar bar_{"quantizing", ProgressBar::Unit::kCount};
};

void Print(const engine::QuantizeReport& report, const QuantizeFlags& flags) {
  // A parameter of BF16 has two bytes.
  const double of_bf16 = static_cast<double>(report.quantized_bytes) / 2.0 /
                         static_cast<double>(std::max<int64_t>(report.quantized_parameters, 1));
  if (flags.json) {
    const ordered_json out = {{"path", flags.out},
                              {"format", flags.to},
                              {"bytes", report.output_bytes},
                              {"source_bytes", report.source_bytes},
                              {"size_ratio", static_cast<double>(report.output_bytes) /
                                                 static_cast<double>(report.source_bytes)},
                              {"quantized_bytes", report.quantized_bytes},
                              {"quantized_of_bf16", of_bf16},
                              {"parameters", report.parameters},
                              {"quantized_parameters", report.quantized_parameters},
                              {"tensors", report.tensors},
                              {"quantized_tensors", report.quantized_tensors},
                              {"shards", report.shards},
                              {"shards_kept", report.shards_kept},
                              {"kept", report.kept}};
    std::printf("%s\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
    return;
  }
  std::printf("%s: %s, %s was %s\n", flags.out.c_str(), flags.to.c_str(),
              FormatBytes(static_cast<double>(report.output_bytes)).c_str(),
              FormatBytes(static_cast<double>(report.source_bytes)).c_str());
  if (report.quantized_tensors > 0) {
    std::printf("%ld of %ld tensors quantized, %.1f %% of their size in BF16\n",
                static_cast<long>(report.quantized_tensors), static_cast<long>(report.tensors),
                100 * of_bf16);
  }
  if (report.shards_kept > 0) {
    std::printf("%ld of %ld files were there from an earlier run\n",
                static_cast<long>(report.shards_kept), static_cast<long>(report.shards));
  }
}

absl::Status Quantize(QuantizeFlags& flags) {
  if (!flags.calibrate.empty() && flags.calibrate != kNoText && flags.to == "bf16") {
    return base::InvalidInput({.field = "--calibrate",
                               .value = flags.calibrate,
                               .expected = "--to int4, int8 or fp8 with it"});
  }
  INHOUSE_ASSIGN_OR_RETURN(flags.model, lifecycle::ResolveModel(flags.model));
  INHOUSE_ASSIGN_OR_RETURN(const auto checkpoint, engine::Checkpoint::Open(flags.model));
  const engine::KernelTable* kernels = engine::ChooseTable(flags.isa);
  if (kernels == nullptr) {
    return base::InvalidInput(
        {.field = "--isa", .value = flags.isa, .expected = "a level that `inhouse doctor` lists"});
  }
  engine::QuantizeOptions options;
  options.plan = {
      .format = FormatOf(flags.to), .group = flags.group, .shard_bytes = flags.shard_bytes};
  options.out = flags.out;
  options.force = flags.force;
  INHOUSE_ASSIGN_OR_RETURN(options.side_files, checkpoint->gguf ? MadeFiles(*checkpoint->gguf)
                                                                : CopiedFiles(checkpoint->path));
  INHOUSE_ASSIGN_OR_RETURN(options.calibration, ReadCalibration(*checkpoint, flags));
  base::ThreadTeam team(flags.threads > 0 ? flags.threads : base::DefaultThreadCount());
  Progress progress;
  INHOUSE_ASSIGN_OR_RETURN(
      const engine::QuantizeReport report,
      engine::Quantize(*checkpoint, options, *kernels, team,
                       [&progress](const auto& at) { return progress.Show(at); }));
  progress.Finish();
  Print(report, flags);
  return absl::OkStatus();
}

}  // namespace

VerbRun SetUpQuantize(CLI::App& app) {
  auto flags = std::make_shared<QuantizeFlags>();
  app.add_option("-m,--model", flags->model,
                 "what to quantize: a directory, a .gguf file, or a name of the local store")
      ->required();
  app.add_option("--to", flags->to,
                 "fp8 (DeepSeek's own format), int8 or int4 (compressed-tensors), or bf16")
      ->required()
      ->check(CLI::IsMember({"fp8", "int8", "int4", "bf16"}));
  app.add_option("-o,--out", flags->out, "directory of the new model")->required();
  app.add_option("--group", flags->group,
                 "columns with one scale (int8, int4); less where it does not divide a row")
      ->check(CLI::IsMember({32, 64, 128}))
      ->capture_default_str();
  app.add_option("--calibrate", flags->calibrate,
                 "a text like the model's work: the codes are fitted to what the layers see while "
                 "it is read (GPTQ); 'self': a text that the model writes; 'none'");
  app.add_option("--calibrate-tokens", flags->calibrate_tokens, "tokens of it at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str();
  app.add_option("--shard-bytes", flags->shard_bytes, "bytes of one weight file at most")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  app.add_flag("--force", flags->force, "replace a finished model in the directory");
  app.add_option("-t,--threads", flags->threads,
                 "threads (default: the physical cores that the process may use)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--isa", flags->isa, "kernel level for --calibrate, for tests")
      ->envname("INHOUSE_ISA");
  app.add_flag("--json", flags->json, "the report as JSON");
  return [flags] {
    const absl::Status status = Quantize(*flags);
    return status.ok() ? int{kDone} : ReportError(status, flags->json);
  };
}

}  // namespace inhouse::apps
