// inhouse config: check inhouse.toml before a server reads it.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/inhouse/keys_path.h"
#include "apps/inhouse/serve_settings.h"
#include "apps/inhouse/verb.h"
#include "base/config_file.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  bool json = false;
  std::string file = {};
};

void PrintJson(const Json& json) {
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

int Check(const Flags& flags) {
  const auto file = base::ConfigFile::Load(flags.file);
  if (!file.ok()) return ReportError(file.status(), flags.json);
  ServeSettings settings;
  ReadSettings(**file, &settings);
  std::vector<absl::Status> problems = (*file)->Problems();
  // Files are looked into only if the configuration itself says what it means.
  if (problems.empty()) problems = CheckFiles(settings);
  Json list = Json::array();
  for (const absl::Status& problem : problems) {
    std::fprintf(stderr, "inhouse: %s\n", base::Message(problem).c_str());
    list.push_back({{"message", base::Message(problem)},
                    {"file", base::ErrorFile(problem).value_or("")},
                    {"field", base::ErrorField(problem).value_or("")}});
  }
  if (flags.json) {
    PrintJson({{"ok", problems.empty()}, {"file", flags.file}, {"problems", list}});
  } else if (problems.empty()) {
    std::printf("%s: ok\n", flags.file.c_str());
  }
  return problems.empty() ? kDone : kFailed;
}

int Show(const Flags& flags) {
  ServeSettings settings;
  if (const absl::Status status = LoadSettings(flags.file, &settings); !status.ok()) {
    return ReportError(status, flags.json);
  }
  if (flags.json) {
    PrintJson({{"file", flags.file}, {"toml", FormatSettings(settings)}});
  } else {
    std::fputs(FormatSettings(settings).c_str(), stdout);
  }
  return kDone;
}

}  // namespace

VerbRun SetUpConfig(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_flag("--json", flags->json, "print a JSON object");
  app.fallthrough();
  app.require_subcommand(1);
  const std::string place = ConfigHome() + "/inhouse.toml";
  CLI::App* check = app.add_subcommand("check", "what is wrong in it, field by field");
  CLI::App* show = app.add_subcommand("show", "every field with its value, defaults included");
  for (CLI::App* sub : {check, show}) {
    sub->fallthrough();
    sub->add_option("FILE", flags->file, "default: " + place);
  }
  return [flags, check, place] {
    if (flags->file.empty()) flags->file = place;
    return check->parsed() ? Check(*flags) : Show(*flags);
  };
}

}  // namespace inhouse::apps
