// inhouse keys: who may call the server.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "apps/inhouse/keys_path.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/config_file.h"
#include "base/status.h"
#include "fmt/format.h"
#include "guard/keys/key_file.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using Json = nlohmann::ordered_json;
using guard::KeyRecord;

struct Flags {
  bool json = false;
  bool all = false;
  std::string file = {};
  std::string key = {};         // of revoke and rotate
  std::string expires_in = {};  // "90d"
  std::string grace = "0s";
  KeyRecord record = {};  // of create
  std::vector<std::string> allow = {};
};

void PrintJson(const Json& json) {
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

Json TimeOrNull(absl::Time time) {
  if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) return nullptr;
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

Json ToJson(const KeyRecord& key, absl::Time now) {
  const auto count = [](const std::optional<int64_t>& value) -> Json {
    return value ? Json(*value) : Json(nullptr);
  };
  Json secrets = Json::array();
  for (const guard::StoredSecret& secret : key.secrets) {
    secrets.push_back({{"prefix", secret.prefix},
                       {"created", TimeOrNull(secret.created)},
                       {"expires", TimeOrNull(secret.expires)}});
  }
  return {{"id", key.id},
          {"name", key.name},
          {"state", key.State(now)},
          {"tenant", key.Tenant()},
          {"role", key.role},
          {"scopes", key.scopes},
          {"models", key.models},
          {"allow", key.allow ? Json(*key.allow) : Json(nullptr)},
          {"requests_per_minute", count(key.requests_per_minute)},
          {"requests_per_day", count(key.requests_per_day)},
          {"tokens_per_minute", count(key.tokens_per_minute)},
          {"tokens_per_day", count(key.tokens_per_day)},
          {"concurrent", count(key.concurrent)},
          {"created", TimeOrNull(key.created)},
          {"expires", TimeOrNull(key.expires)},
          {"revoked", TimeOrNull(key.revoked)},
          {"secrets", secrets}};
}

// "30d", "12h", "90m", "45s"; absl knows no days.
absl::StatusOr<absl::Duration> ParseSpan(const std::string& text, const char* flag) {
  absl::Duration span;
  bool good = false;
  if (text.size() > 1 && text.back() == 'd') {
    char* end = nullptr;
    const double days = std::strtod(text.c_str(), &end);
    good = end == text.c_str() + text.size() - 1 && days < 1e6;
    span = absl::Hours(24) * days;
  } else {
    good = absl::ParseDuration(text, &span);
  }
  if (good && span >= absl::ZeroDuration()) return span;
  return base::InvalidInput(
      {.field = flag, .value = text, .expected = "a time, as 90d, 12h, 30m or 45s"});
}

void SayReload() {
  std::fprintf(stderr, "a running server knows it after SIGHUP (systemctl reload inhouse)\n");
}

// The one time that the text of a key is shown.
int ShowSecret(const std::string& text, const KeyRecord& key, const Flags& flags) {
  if (flags.json) {
    Json json = ToJson(key, absl::Now());
    json["key"] = text;
    PrintJson(json);
  } else {
    std::printf("%s\n", text.c_str());
    std::fprintf(stderr, "this is the only time that the key is shown; %s keeps a digest\n",
                 flags.file.c_str());
  }
  SayReload();
  return kDone;
}

int Create(Flags& flags) {
  KeyRecord& key = flags.record;
  key.created = absl::Now();
  if (key.role.empty() && key.scopes.empty()) key.role = "user";
  if (!flags.allow.empty()) key.allow = flags.allow;
  if (!flags.expires_in.empty()) {
    const auto span = ParseSpan(flags.expires_in, "--expires-in");
    if (!span.ok()) return ReportError(span.status(), flags.json);
    key.expires = key.created + *span;
  }
  if (const auto blocks = guard::CidrList::Parse(flags.allow); !blocks.ok()) {
    return ReportError(
        base::InvalidInput({.field = "--allow", .expected = base::Message(blocks.status())}),
        flags.json);
  }
  std::string text;
  const absl::Status status =
      guard::EditKeys(flags.file, [&](std::vector<KeyRecord>* keys) -> absl::Status {
        INHOUSE_ASSIGN_OR_RETURN(key.id, guard::NewRecordId());
        INHOUSE_ASSIGN_OR_RETURN(text, guard::AddSecret(&key, {.now = key.created}));
        keys->push_back(key);
        return absl::OkStatus();
      });
  return status.ok() ? ShowSecret(text, key, flags) : ReportError(status, flags.json);
}

int Rotate(Flags& flags) {
  const auto grace = ParseSpan(flags.grace, "--grace");
  if (!grace.ok()) return ReportError(grace.status(), flags.json);
  std::string text;
  KeyRecord rotated;
  const absl::Status status =
      guard::EditKeys(flags.file, [&](std::vector<KeyRecord>* keys) -> absl::Status {
        INHOUSE_ASSIGN_OR_RETURN(KeyRecord* const key, guard::FindKey(keys, flags.key));
        const absl::Time now = absl::Now();
        if (key->revoked <= now || key->expires <= now) {
          return base::InputError(absl::StatusCode::kFailedPrecondition,
                                  {.field = "KEY",
                                   .value = flags.key,
                                   .expected = "a key that is neither revoked nor expired",
                                   .hint = "`inhouse keys create` makes a new one."});
        }
        INHOUSE_ASSIGN_OR_RETURN(text, guard::AddSecret(key, {.grace = *grace, .now = now}));
        rotated = *key;
        return absl::OkStatus();
      });
  return status.ok() ? ShowSecret(text, rotated, flags) : ReportError(status, flags.json);
}

int Revoke(Flags& flags) {
  KeyRecord revoked;
  const absl::Status status =
      guard::EditKeys(flags.file, [&](std::vector<KeyRecord>* keys) -> absl::Status {
        INHOUSE_ASSIGN_OR_RETURN(KeyRecord* const key, guard::FindKey(keys, flags.key));
        key->revoked = std::min(key->revoked, absl::Now());
        revoked = *key;
        return absl::OkStatus();
      });
  if (!status.ok()) return ReportError(status, flags.json);
  if (flags.json) PrintJson(ToJson(revoked, absl::Now() + absl::Seconds(1)));
  std::fprintf(stderr, "revoked %s\n", revoked.id.c_str());
  SayReload();
  return kDone;
}

std::string Joined(const std::vector<std::string>& words, const std::string& none) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text.empty() ? none : text;
}

int List(Flags& flags) {
  auto keys = guard::LoadKeys(flags.file);
  if (absl::IsNotFound(keys.status())) keys = std::vector<KeyRecord>();
  if (!keys.ok()) return ReportError(keys.status(), flags.json);
  const absl::Time now = absl::Now();
  Json list = Json::array();
  std::vector<Table::Column> columns = {{.title = "ID"},  {.title = "NAME"},  {.title = "PREFIX"},
                                        {.title = "MAY"}, {.title = "STATE"}, {.title = "EXPIRES"}};
  Table table(std::move(columns));
  for (const KeyRecord& key : *keys) {
    const std::string state(key.State(now));
    if (state != "active" && !flags.all) continue;
    list.push_back(ToJson(key, now));
    std::vector<std::string> may = key.scopes;
    if (!key.role.empty()) may.insert(may.begin(), key.role);
    std::vector<std::string> prefixes;
    for (const guard::StoredSecret& secret : key.secrets) {
      if (secret.expires > now) prefixes.push_back(secret.prefix);
    }
    const Json expires = TimeOrNull(key.expires);
    table.AddRow({key.id, key.name.empty() ? "-" : key.name, Joined(prefixes, "-"),
                  Joined(may, "nothing"), state,
                  expires.is_null() ? "never" : expires.get<std::string>()});
  }
  if (flags.json) {
    PrintJson({{"file", flags.file}, {"keys", list}});
  } else if (list.empty()) {
    std::fprintf(stderr, "no keys in %s; `inhouse keys create --name NAME` makes one\n",
                 flags.file.c_str());
  } else {
    table.Print(stdout);
  }
  return kDone;
}

void AddCreateFlags(CLI::App* create, Flags* flags) {
  KeyRecord* key = &flags->record;
  create->add_option("--name", key->name, "for people: whose key it is");
  create->add_option("--tenant", key->tenant,
                     "keys of one tenant share its cache and its share (default: the key's own)");
  create->add_option("--role", key->role, "user (default), monitor or admin")
      ->check(CLI::IsMember(guard::RoleNames()));
  create->add_option("--scope", key->scopes, "beside the role, or instead of one; may be repeated")
      ->allow_extra_args(false)
      ->check(CLI::IsMember(guard::ScopeNames()));
  create->add_option("--model", key->models, "only this model; may be repeated")
      ->allow_extra_args(false);
  create->add_option("--allow", flags->allow, "only from this CIDR block; may be repeated")
      ->allow_extra_args(false);
  create->add_option("--expires-in", flags->expires_in, "90d, 12h, ... (default: never)");
  const auto limit = [create](const char* name, std::optional<int64_t>* value, const char* text) {
    create
        ->add_option_function<int64_t>(
            name, [value](const int64_t& number) { *value = number; }, text)
        ->check(CLI::NonNegativeNumber);
  };
  limit("--requests-per-minute", &key->requests_per_minute, "0 = no limit");
  limit("--requests-per-day", &key->requests_per_day, "0 = no limit; days are UTC");
  limit("--tokens-per-minute", &key->tokens_per_minute, "of prompts and answers; 0 = no limit");
  limit("--tokens-per-day", &key->tokens_per_day, "0 = no limit");
  limit("--concurrent", &key->concurrent, "requests at the same time; 0 = no limit");
}

}  // namespace

VerbRun SetUpKeys(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_flag("--json", flags->json, "print a JSON object");
  app.add_option("--keys", flags->file, "the keys file (default: " + DefaultKeysPath() + ")");
  app.fallthrough();
  app.require_subcommand(1);
  CLI::App* create = app.add_subcommand("create", "make a key; it is printed once");
  AddCreateFlags(create, flags.get());
  CLI::App* list = app.add_subcommand("list", "the keys that work; never their texts");
  list->add_flag("-a,--all", flags->all, "also expired and revoked ones");
  CLI::App* revoke = app.add_subcommand("revoke", "end a key");
  CLI::App* rotate = app.add_subcommand("rotate", "a new text for a key that keeps all else");
  rotate->add_option("--grace", flags->grace, "for which the old text goes on working: 7d, 12h")
      ->capture_default_str();
  for (CLI::App* sub : {revoke, rotate}) {
    sub->add_option("KEY", flags->key, "id, prefix or name")->required();
  }
  const std::vector<std::pair<CLI::App*, int (*)(Flags&)>> actions = {
      {create, Create}, {list, List}, {revoke, Revoke}, {rotate, Rotate}};
  for (const auto& [sub, action] : actions) sub->fallthrough();
  return [flags, actions] {
    if (flags->file.empty()) flags->file = DefaultKeysPath();
    for (const auto& [sub, action] : actions) {
      if (sub->parsed()) return action(*flags);
    }
    return int{kUsage};
  };
}

}  // namespace inhouse::apps
