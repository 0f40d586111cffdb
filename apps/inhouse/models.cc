// inhouse models: what is in the local store.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/hub/staging.h"
#include "lifecycle/registry/store.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using Json = nlohmann::ordered_json;
using lifecycle::Store;
using lifecycle::StoredVersion;

struct Flags {
  bool json = false;
  bool all = false;
  std::vector<std::string> names = {};
};

void PrintJson(const Json& json) {
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

Json ToJson(const StoredVersion& version) {
  const lifecycle::Manifest& manifest = version.manifest;
  return {{"name", version.name},
          {"version", version.version},
          {"current", version.current},
          {"path", version.ModelPath()},
          {"bytes", manifest.TotalBytes()},
          {"files", manifest.files.size()},
          {"format", manifest.format},
          {"architecture", manifest.architecture},
          {"source", manifest.source},
          {"revision", manifest.revision},
          {"created_at", manifest.created_at}};
}

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

void PrintPartials(const std::vector<lifecycle::PartialPull>& partials) {
  for (const lifecycle::PartialPull& partial : partials) {
    std::fprintf(
        stderr, "%s: %s of %s%s\n", partial.active ? "in progress" : "not complete",
        FormatBytes(static_cast<double>(partial.bytes)).c_str(), OrDash(partial.title).c_str(),
        partial.active ? "" : " (pull it again to go on; `inhouse models prune` removes it)");
  }
}

int List(const Store& store, const Flags& flags) {
  const auto on_broken = [](const absl::Status& status) {
    std::fprintf(stderr, "left out: %s\n", base::Message(status).c_str());
  };
  const auto versions = store.List(on_broken);
  if (!versions.ok()) return ReportError(versions.status(), flags.json);
  const std::vector<lifecycle::PartialPull> partials = lifecycle::ListPartials(store);
  if (flags.json) {
    Json models = Json::array();
    for (const StoredVersion& version : *versions) {
      if (version.current || flags.all) models.push_back(ToJson(version));
    }
    Json unfinished = Json::array();
    for (const lifecycle::PartialPull& partial : partials) {
      unfinished.push_back(
          {{"source", partial.title}, {"bytes", partial.bytes}, {"active", partial.active}});
    }
    PrintJson({{"home", store.home()}, {"models", models}, {"partial", unfinished}});
    return kDone;
  }
  std::vector<Table::Column> columns = {
      {.title = "NAME"},      {.title = "SIZE", .align = Table::Align::kRight},
      {.title = "FORMAT"},    {.title = "ARCHITECTURE"},
      {.title = "PULLED AT"}, {.title = "VERSION"}};
  Table table(std::move(columns));
  size_t rows = 0;
  for (const StoredVersion& version : *versions) {
    if (!version.current && !flags.all) continue;
    ++rows;
    std::string when = version.manifest.created_at.substr(0, 16);
    std::replace(when.begin(), when.end(), 'T', ' ');
    table.AddRow({version.name, FormatBytes(static_cast<double>(version.manifest.TotalBytes())),
                  version.manifest.format, OrDash(version.manifest.architecture), when,
                  version.version.substr(0, 12) + (flags.all && version.current ? " *" : "")});
  }
  if (rows > 0) {
    table.Print(stdout);
  } else {
    std::fprintf(stderr,
                 "no models in %s; `inhouse pull smollm2-135m-instruct` brings a small one\n",
                 store.home().c_str());
  }
  PrintPartials(partials);
  return kDone;
}

int Remove(const Store& store, const Flags& flags) {
  Json removed = Json::array();
  for (const std::string& name : flags.names) {
    const auto versions = store.Remove(name);
    if (!versions.ok()) return ReportError(versions.status(), flags.json);
    for (const StoredVersion& version : *versions) {
      removed.push_back(ToJson(version));
      std::fprintf(stderr, "removed %s@%s (%s)\n", version.name.c_str(),
                   version.version.substr(0, 12).c_str(),
                   FormatBytes(static_cast<double>(version.manifest.TotalBytes())).c_str());
    }
  }
  if (flags.json) PrintJson({{"removed", removed}});
  return kDone;
}

int Path(const Store& store, const Flags& flags) {
  const auto version = store.Find(flags.names[0]);
  if (!version.ok()) return ReportError(version.status(), flags.json);
  if (flags.json) {
    PrintJson(ToJson(*version));
  } else {
    std::printf("%s\n", version->ModelPath().c_str());
  }
  return kDone;
}

// The versions that `verify` was asked for; all of them if no name was given.
absl::StatusOr<std::vector<StoredVersion>> Chosen(const Store& store, const Flags& flags) {
  if (flags.names.empty()) return store.List();
  std::vector<StoredVersion> versions;
  for (const std::string& name : flags.names) {
    INHOUSE_ASSIGN_OR_RETURN(StoredVersion version, store.Find(name));
    versions.push_back(std::move(version));
  }
  return versions;
}

int Verify(const Store& store, const Flags& flags) {
  const auto versions = Chosen(store, flags);
  if (!versions.ok()) return ReportError(versions.status(), flags.json);
  Json results = Json::array();
  size_t problems = 0;
  for (const StoredVersion& version : *versions) {
    ProgressBar bar(version.name);
    const auto findings = store.Verify(version, [&](uint64_t done, uint64_t total) {
      bar.Set(done, total);
      return !Interrupted();
    });
    bar.Finish();
    if (!findings.ok()) return ReportError(findings.status(), flags.json);
    Json list = Json::array();
    for (const lifecycle::VerifyFinding& finding : *findings) {
      list.push_back({{"path", finding.path}, {"problem", finding.problem}});
      std::fprintf(stderr, "%s: %s: %s\n", version.name.c_str(), finding.path.c_str(),
                   finding.problem.c_str());
    }
    problems += findings->size();
    results.push_back({{"name", version.name},
                       {"version", version.version},
                       {"ok", findings->empty()},
                       {"problems", list}});
    if (!flags.json && findings->empty()) {
      std::printf("%s  ok, %s in %zu files\n", version.name.c_str(),
                  FormatBytes(static_cast<double>(version.manifest.TotalBytes())).c_str(),
                  version.manifest.files.size());
    }
  }
  if (flags.json) PrintJson({{"ok", problems == 0}, {"results", results}});
  if (problems == 0) return kDone;
  std::fprintf(stderr, "inhouse: %zu damaged files; `inhouse models rm NAME` and pull again\n",
               problems);
  return kFailed;
}

int Prune(const Store& store, const Flags& flags) {
  const auto removed = lifecycle::RemovePartials(store);
  if (!removed.ok()) return ReportError(removed.status(), flags.json);
  uint64_t bytes = 0;
  for (const lifecycle::PartialPull& partial : *removed) bytes += partial.bytes;
  if (flags.json) {
    PrintJson({{"removed", removed->size()}, {"bytes", bytes}});
  } else {
    std::fprintf(stderr, "removed %zu unfinished downloads, %s\n", removed->size(),
                 FormatBytes(static_cast<double>(bytes)).c_str());
  }
  return kDone;
}

struct Action {
  const char* name;
  const char* summary;
  int names_min;
  int names_max;  // -1 = any number
  int (*run)(const Store& store, const Flags& flags);
};
constexpr Action kActions[] = {
    {"list", "the same as without an action", 0, 0, List},
    {"rm", "remove models (NAME) or one version (NAME@VERSION)", 1, -1, Remove},
    {"verify", "read every file again and compare its SHA-256", 0, -1, Verify},
    {"path", "print what --model would open", 1, 1, Path},
    {"prune", "remove downloads that were not completed", 0, 0, Prune},
};

}  // namespace

VerbRun SetUpModels(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_flag("--json", flags->json, "print a JSON object");
  app.add_flag("-a,--all", flags->all, "also versions that are not current");
  app.fallthrough();  // --json may stand after the action, too
  app.require_subcommand(0, 1);
  std::vector<std::pair<CLI::App*, const Action*>> actions;
  for (const Action& action : kActions) {
    CLI::App* sub = app.add_subcommand(action.name, action.summary);
    sub->fallthrough();
    if (action.names_max != 0) {
      CLI::Option* names = sub->add_option("NAME", flags->names, "a model of the store");
      names->expected(action.names_min, action.names_max < 0 ? 1000 : action.names_max);
      if (action.names_min > 0) names->required();
    }
    actions.emplace_back(sub, &action);
  }
  return [flags, actions] {
    const auto store = Store::OpenDefault();
    if (!store.ok()) return ReportError(store.status(), flags->json);
    for (const auto& [sub, action] : actions) {
      if (sub->parsed()) return action->run(*store, *flags);
    }
    return List(*store, *flags);
  };
}

}  // namespace inhouse::apps
