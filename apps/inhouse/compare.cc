// inhouse compare: what a smaller model costs in accuracy, and what it brings in size and speed.
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>

#include "apps/inhouse/comparison.h"
#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/registry/resolve.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using nlohmann::ordered_json;

constexpr uint64_t kTextBytesMax = 256ULL << 20;

struct CompareFlags {
  ComparisonOptions options;
  std::string text;
  int threads = 0;
  std::string isa;
  bool no_speed = false;
  bool json = false;
};

// Null where there is no number: JSON has no NaN.
ordered_json Number(double value) { return std::isfinite(value) ? ordered_json(value) : nullptr; }

double Ratio(double b, double a) { return a > 0 ? b / a : std::nan(""); }

void PrintJson(const Comparison& c, const CompareFlags& flags) {
  const auto& d = c.divergence;
  ordered_json out = {
      {"top1_agreement", Number(d.top1_agreement)},
      {"kl_mean", Number(d.kl_mean)},
      {"kl_p99", Number(d.kl_p99)},
      {"perplexity", {Number(d.perplexity_a), Number(d.perplexity_b)}},
      {"size_ratio", Number(Ratio(static_cast<double>(c.bytes_b), static_cast<double>(c.bytes_a)))},
      {"speed_ratio", Number(Ratio(c.speed_b.decode, c.speed_a.decode))},
      {"tokens", d.positions},
      {"bytes", {c.bytes_a, c.bytes_b}},
      {"activation_bits", {flags.options.a.activation_bits, flags.options.b.activation_bits}},
      {"kv_type", {flags.options.a.kv_type, flags.options.b.kv_type}},
      {"context", c.context},
      {"text", flags.options.text_name}};
  if (!flags.no_speed) {
    out["speed"] = {
        {"interleaved", c.interleaved},
        {"decode_tokens", c.decode_tokens},
        {"decode_tokens_per_second", {Number(c.speed_a.decode), Number(c.speed_b.decode)}},
        {"prefill_tokens", c.prefill_tokens},
        {"prefill_tokens_per_second", {Number(c.speed_a.prefill), Number(c.speed_b.prefill)}},
        {"prefill_ratio", Number(Ratio(c.speed_b.prefill, c.speed_a.prefill))}};
  }
  std::printf("%s\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

// The model, and how it is run where that is not the default.
std::string Title(const engine::EngineOptions& options) {
  std::string title = options.model;
  if (options.activation_bits != 16) {
    title += fmt::format(", {}-bit activations", options.activation_bits);
  }
  if (options.kv_type != "auto") title += fmt::format(", KV in {}", options.kv_type);
  return title;
}

void PrintTable(const Comparison& c, const CompareFlags& flags) {
  const auto& d = c.divergence;
  std::printf("A %s\nB %s\n%ld positions of %s, in windows of %ld tokens\n\n",
              Title(flags.options.a).c_str(), Title(flags.options.b).c_str(),
              static_cast<long>(d.positions), flags.options.text_name.c_str(),
              static_cast<long>(c.context));
  using Align = Table::Align;
  Table table(
      {{"", Align::kLeft}, {"A", Align::kRight}, {"B", Align::kRight}, {"B to A", Align::kRight}});
  const auto row = [&](std::string name, double a, double b, const char* format) {
    const auto cell = [format](double x) { return fmt::format(fmt::runtime(format), x); };
    table.AddRow({std::move(name), cell(a), cell(b), fmt::format("{:.4f}", Ratio(b, a))});
  };
  const auto a_bytes = static_cast<double>(c.bytes_a);
  const auto b_bytes = static_cast<double>(c.bytes_b);
  table.AddRow({"size of the weights", FormatBytes(a_bytes), FormatBytes(b_bytes),
                fmt::format("{:.4f}", Ratio(b_bytes, a_bytes))});
  row("perplexity", d.perplexity_a, d.perplexity_b, "{:.4f}");
  if (!flags.no_speed) {
    row(fmt::format("decode, tokens/s ({} tokens)", c.decode_tokens), c.speed_a.decode,
        c.speed_b.decode, "{:.1f}");
    row(fmt::format("prefill, tokens/s ({} tokens)", c.prefill_tokens), c.speed_a.prefill,
        c.speed_b.prefill, "{:.1f}");
  }
  table.Print(stdout);
  std::printf("\nsame most likely token    %.2f %% of positions\n", 100 * d.top1_agreement);
  std::printf("KL(A || B), nats          mean %.6f, 99 of 100 below %.6f\n", d.kl_mean, d.kl_p99);
  if (!c.interleaved) {
    std::printf(
        "The models were not in memory together: speed was measured one after the other.\n");
  }
}

absl::Status RunCompare(CompareFlags& flags) {
  ComparisonOptions& options = flags.options;
  for (engine::EngineOptions* model : {&options.a, &options.b}) {
    INHOUSE_ASSIGN_OR_RETURN(model->model, lifecycle::ResolveModel(model->model));
    model->threads = flags.threads;
    model->isa = flags.isa;
    model->max_sequences = 1;
    model->prefix_cache = false;  // every measured answer computes its whole prompt
    // Room for a window, and for the answer by which speed is measured.
    model->context_tokens = options.context + 64;
  }
  options.b.need_tokenizer = false;
  if (flags.no_speed) options.speed_rounds = 0;
  if (flags.text.empty()) {
    options.text = kComparisonText;
    options.text_name = "the built-in text";
  } else {
    INHOUSE_ASSIGN_OR_RETURN(options.text, base::ReadFile(flags.text, kTextBytesMax));
    options.text_name = flags.text;
  }
  INHOUSE_ASSIGN_OR_RETURN(const Comparison comparison, Compare(options));
  flags.json ? PrintJson(comparison, flags) : PrintTable(comparison, flags);
  return absl::OkStatus();
}

}  // namespace

VerbRun SetUpCompare(CLI::App& app) {
  auto flags = std::make_shared<CompareFlags>();
  ComparisonOptions& options = flags->options;
  app.add_option("a", options.a.model,
                 "the model to measure against: a directory, a .gguf file, or a name of the store")
      ->required();
  app.add_option("b", options.b.model, "the other one, with the same vocabulary")->required();
  const auto adapter = [&app](const char* flag, engine::EngineOptions* model, const char* what) {
    app.add_option_function<std::string>(
        flag,
        [model](const std::string& path) {
          model->adapters = {{"adapter", path}};
        },
        what);
  };
  adapter("--adapter-a", &options.a, "a LoRA adapter for the first model (PEFT directory)");
  adapter("--adapter-b", &options.b, "a LoRA adapter for the other one");
  AddActivationBits(app, &options.a, "--activation-bits-a",
                    "of activations that meet the first model's integer weights: 16, or 8");
  AddActivationBits(app, &options.b, "--activation-bits-b", "the same for the other one");
  AddKvType(app, &options.a, "--kv-type-a", "how the first model keeps keys and values");
  AddKvType(app, &options.b, "--kv-type-b", "how the other one does");
  app.add_option("--text", flags->text, "what both read (default: 15,000 words of English)");
  app.add_option("--tokens", options.tokens, "tokens of it at most")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 32))
      ->capture_default_str();
  app.add_option("-c,--context", options.context, "tokens of a window, each read from scratch")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("-t,--threads", flags->threads,
                 "threads (default: the physical cores that the process may use)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--isa", flags->isa, "kernel level, for tests")->envname("INHOUSE_ISA");
  app.add_flag("--no-speed", flags->no_speed, "accuracy and size only");
  app.add_flag("--one-at-a-time", options.one_at_a_time,
               "never both models in memory, even if they fit");
  app.add_flag("--json", flags->json, "the report as JSON");
  return [flags] {
    const absl::Status status = RunCompare(*flags);
    return status.ok() ? int{kDone} : ReportError(status, flags->json);
  };
}

}  // namespace inhouse::apps
