#include "apps/inhouse/bench/report.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "apps/inhouse/progress.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

using nlohmann::ordered_json;

ordered_json PhaseJson(const Phase& phase) {
  return {{"phase", phase.name()},
          {"batch", phase.batch},
          {"tokens", phase.tokens},
          {"depth", phase.depth}};
}

// Where the time of the phase's steps went, largest first.
ordered_json KernelsJson(const engine::ModelInfo& model, const PhaseResult& result) {
  engine::StepProfile sum;
  for (const engine::StepProfile& profile : result.profiles) {
    sum.steps += profile.steps;
    sum.rows += profile.rows;
    for (size_t i = 0; i < engine::kOpClasses; ++i) sum.seconds[i] += profile.seconds[i];
  }
  std::array<size_t, engine::kOpClasses> order{};
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&sum](size_t a, size_t b) { return sum.seconds[a] > sum.seconds[b]; });
  const engine::MachineLimits limits = MedianOf(result.limits);
  ordered_json kernels = ordered_json::array();
  for (const size_t i : order) {
    const double seconds = sum.seconds[i];
    if (seconds <= 0) continue;
    const auto op = static_cast<engine::OpClass>(i);
    const Cost cost = CostOf(model, op, result.phase, sum.steps, sum.rows);
    ordered_json row = {{"kernel", std::string(Name(op))},
                        {"us_per_step", seconds * 1e6 / static_cast<double>(sum.steps)},
                        {"share", seconds / sum.total()}};
    if (cost.bytes > 0) {
      row["gb_s"] = cost.bytes / seconds / 1e9;
      if (cost.ops() > 0) row["gop_s"] = cost.ops() / seconds / 1e9;
      row["of_limit"] = LimitSeconds(cost, limits) / seconds;
    }
    kernels.push_back(std::move(row));
  }
  return kernels;
}

ordered_json ResultJson(const engine::ModelInfo& model, const PhaseResult& result) {
  const Cost& cost = result.cost;
  std::vector<double> shares;
  for (size_t i = 0; i < result.rates.size(); ++i) {
    shares.push_back(LimitSeconds(cost, result.limits[i]) * result.rates[i] / cost.tokens);
  }
  const double median = Median(result.rates);
  const engine::MachineLimits limits = MedianOf(result.limits);
  ordered_json row = PhaseJson(result.phase);
  row["tokens_per_second"] = {{"min", *std::min_element(result.rates.begin(), result.rates.end())},
                              {"median", median},
                              {"max", *std::max_element(result.rates.begin(), result.rates.end())}};
  row["gb_s"] = cost.bytes * median / cost.tokens / 1e9;
  row["gop_s"] = cost.ops() * median / cost.tokens / 1e9;
  row["of_limit"] = Median(shares);
  row["bound"] =
      MemorySeconds(cost, limits) > ArithmeticSeconds(cost, limits) ? "memory" : "arithmetic";
  row["limit_tokens_per_second"] = cost.tokens / LimitSeconds(cost, limits);
  row["limits"] = LimitsJson(limits);
  if (!result.profiles.empty()) row["kernels"] = KernelsJson(model, result);
  return row;
}

std::string Number(const ordered_json& row, const char* key) {
  return row.contains(key) ? fmt::format("{:.1f}", row[key].get<double>()) : "";
}

std::string Percent(const ordered_json& row, const char* key) {
  return row.contains(key) ? fmt::format("{:.0f} %", row[key].get<double>() * 100) : "";
}

std::string Title(const ordered_json& row) {
  return fmt::format("{}, batch {}, {} tokens after {}", row["phase"].get<std::string>(),
                     row["batch"].get<int>(), row["tokens"].get<int64_t>(),
                     row["depth"].get<int64_t>());
}

void PrintKernels(const ordered_json& row) {
  using Align = Table::Align;
  fmt::print("\n{}\n", Title(row));
  Table table({{"kernel"},
               {"us/step", Align::kRight},
               {"of step", Align::kRight},
               {"GB/s", Align::kRight},
               {"Gop/s", Align::kRight},
               {"of limit", Align::kRight}});
  for (const auto& kernel : row["kernels"]) {
    table.AddRow({kernel["kernel"].get<std::string>(), Number(kernel, "us_per_step"),
                  Percent(kernel, "share"), Number(kernel, "gb_s"), Number(kernel, "gop_s"),
                  Percent(kernel, "of_limit")});
  }
  table.Print(stdout);
}

}  // namespace

ordered_json LimitsJson(const engine::MachineLimits& limits) {
  ordered_json dots;
  for (size_t unit = 0; unit < engine::kDotUnits; ++unit) {
    dots[Name(static_cast<engine::DotUnit>(unit))] = limits.dot_gop_s[unit];
  }
  return {{"memory_read_gb_s", limits.memory_read_gb_s}, {"dot_gop_s", dots}};
}

std::string DotsText(const ordered_json& limits) {
  std::string text;
  for (const auto& [unit, gop_s] : limits["dot_gop_s"].items()) {
    text += fmt::format("{}{} {:.0f}", text.empty() ? "" : ", ", unit, gop_s.get<double>());
  }
  return text + " Gop/s";
}

ordered_json BenchJson(const engine::ModelInfo& model, const BenchRun& run) {
  ordered_json results = ordered_json::array();
  std::vector<engine::MachineLimits> limits;
  for (const PhaseResult& phase : run.phases) {
    results.push_back(ResultJson(model, phase));
    limits.insert(limits.end(), phase.limits.begin(), phase.limits.end());
  }
  ordered_json skipped = ordered_json::array();
  for (const auto& [phase, why] : run.skipped) {
    skipped.push_back(PhaseJson(phase));
    skipped.back()["why"] = why;
  }
  const auto weights = static_cast<double>(model.bytes.weights);
  const engine::ProductInfo most =
      model.products.empty()
          ? engine::ProductInfo{}
          : *std::max_element(model.products.begin(), model.products.end(),
                              [](const auto& a, const auto& b) { return a.ops < b.ops; });
  return {
      {"machine", {{"cpu", engine::CpuModel()}, {"threads", model.threads}, {"isa", model.isa}}},
      {"model",
       {{"name", model.name},
        {"architecture", model.architecture},
        {"parameters", model.parameters_total},
        {"weight_bytes", model.bytes.weights},
        {"kv_bytes", model.bytes.kv},
        {"kv_bytes_per_token", model.bytes.kv_per_token},
        {"scratch_bytes", model.bytes.scratch},
        {"arithmetic", most.arithmetic}}},
      {"load",
       {{"seconds", run.load_seconds},
        {"gb_s", weights / run.load_seconds / 1e9},
        {"open_ms", model.load.open_ms},
        {"bind_ms", model.load.bind_ms},
        {"weights_ms", model.load.weights_ms},
        {"buffers_ms", model.load.buffers_ms}}},
      {"limits", LimitsJson(MedianOf(limits))},
      {"results", results},
      {"skipped", skipped},
      {"peak_rss_bytes", run.peak_rss_bytes}};
}

void PrintBench(const ordered_json& json) {
  using Align = Table::Align;
  const ordered_json& machine = json["machine"];
  const ordered_json& limits = json["limits"];
  fmt::print("{}: {}, {} threads, {}\n", json["model"]["name"].get<std::string>(),
             machine["cpu"].get<std::string>(), machine["threads"].get<int>(),
             machine["isa"].get<std::string>());
  fmt::print("limits measured beside it: memory {:.1f} GB/s; {}\n",
             limits["memory_read_gb_s"].get<double>(), DotsText(limits));
  Table table({{"phase"},
               {"batch", Align::kRight},
               {"depth", Align::kRight},
               {"tokens", Align::kRight},
               {"tokens/s min", Align::kRight},
               {"median", Align::kRight},
               {"max", Align::kRight},
               {"GB/s", Align::kRight},
               {"Gop/s", Align::kRight},
               {"of limit", Align::kRight},
               {"bound by"}});
  for (const auto& row : json["results"]) {
    const ordered_json& rate = row["tokens_per_second"];
    table.AddRow({row["phase"].get<std::string>(), fmt::format("{}", row["batch"].get<int>()),
                  fmt::format("{}", row["depth"].get<int64_t>()),
                  fmt::format("{}", row["tokens"].get<int64_t>()), Number(rate, "min"),
                  Number(rate, "median"), Number(rate, "max"), Number(row, "gb_s"),
                  Number(row, "gop_s"), Percent(row, "of_limit"), row["bound"].get<std::string>()});
  }
  table.Print(stdout);
  for (const auto& row : json["skipped"]) {
    fmt::print("left out: {}: {}\n", Title(row), row["why"].get<std::string>());
  }
  fmt::print("loaded in {:.1f} s ({:.1f} GB/s of weights); peak memory {}\n",
             json["load"]["seconds"].get<double>(), json["load"]["gb_s"].get<double>(),
             FormatBinaryBytes(json["peak_rss_bytes"].get<double>()));
  for (const auto& row : json["results"]) {
    if (row.contains("kernels")) PrintKernels(row);
  }
}

}  // namespace inhouse::apps
