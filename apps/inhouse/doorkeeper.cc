#include "apps/inhouse/doorkeeper.h"

#include <filesystem>
#include <utility>

#include "apps/inhouse/keys_path.h"
#include "base/log.h"
#include "base/status.h"
#include "guard/keys/key_file.h"

namespace inhouse::apps {
namespace {

constexpr auto kSaveInterval = std::chrono::seconds(1);

absl::StatusOr<guard::CidrList> Blocks(const std::vector<std::string>& texts, const char* field) {
  auto list = guard::CidrList::Parse(texts);
  if (list.ok()) return list;
  return base::InvalidInput({.field = field, .expected = base::Message(list.status())});
}

// The file that is meant; "" if none was named and there is none at the default place.
std::string KeysFile(const GuardSettings& settings) {
  if (!settings.keys_file.empty()) return settings.keys_file;
  std::error_code ignored;
  std::string path = DefaultKeysPath();
  return std::filesystem::exists(path, ignored) ? path : "";
}

}  // namespace

void AddListFlags(CLI::App& app, GuardSettings* settings) {
  app.add_option_function<std::vector<std::string>>(
         "--allow", [settings](const std::vector<std::string>& list) { settings->allow = list; },
         "only clients of this CIDR block get in; may be repeated (default: all)")
      ->allow_extra_args(false);
  app.add_option("--deny", settings->deny, "nobody of this CIDR block gets in; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--trusted-proxy", settings->trusted_proxies,
                 "a proxy of ours, whose X-Forwarded-For is believed; may be repeated")
      ->allow_extra_args(false);
}

void AddGuardFlags(CLI::App& app, GuardSettings* settings) {
  app.add_option("--keys", settings->keys_file,
                 "keys file: without a key of it nobody gets in (default: " + DefaultKeysPath() +
                     ", if it exists)");
  app.add_option("--usage-file", settings->usage_file,
                 "where the day's use of each key is kept (default: beside the keys file)");
  AddListFlags(app, settings);
  app.add_flag("--insecure-no-auth", settings->insecure_no_auth,
               "listen beyond this machine although nobody has to show a key");
}

absl::StatusOr<guard::PolicyOptions> ReadLists(const GuardSettings& settings) {
  guard::PolicyOptions rules;
  if (settings.allow) {
    INHOUSE_ASSIGN_OR_RETURN(rules.allow, Blocks(*settings.allow, "allow"));
  }
  INHOUSE_ASSIGN_OR_RETURN(rules.deny, Blocks(settings.deny, "deny"));
  INHOUSE_ASSIGN_OR_RETURN(rules.trusted_proxies,
                           Blocks(settings.trusted_proxies, "trusted_proxies"));
  return rules;
}

absl::StatusOr<guard::PolicyOptions> ReadPolicy(const GuardSettings& settings) {
  INHOUSE_ASSIGN_OR_RETURN(guard::PolicyOptions rules, ReadLists(settings));
  if (const std::string path = KeysFile(settings); !path.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(rules.keys, guard::LoadKeys(path));
    rules.keys_required = true;
  }
  rules.forwarded = settings.forwarded_header == "forwarded"
                        ? guard::ForwardedHeader::kForwarded
                        : guard::ForwardedHeader::kXForwardedFor;
  rules.default_quota = settings.quota;
  return rules;
}

absl::StatusOr<std::unique_ptr<Doorkeeper>> Doorkeeper::Start(const GuardSettings& settings) {
  auto keeper = std::make_unique<Doorkeeper>();
  INHOUSE_ASSIGN_OR_RETURN(guard::PolicyOptions rules, ReadPolicy(settings));
  const size_t keys = rules.keys.size();
  const bool required = rules.keys_required;
  INHOUSE_ASSIGN_OR_RETURN(auto policy, guard::Policy::Create(std::move(rules)));
  keeper->guard_ = std::make_shared<guard::Guard>(std::move(policy));
  if (!required) return keeper;
  const std::string path = KeysFile(settings);
  spdlog::info("{}: {} keys; every route but /livez and /readyz asks for one", path, keys);
  INHOUSE_ASSIGN_OR_RETURN(
      keeper->usage_,
      guard::UsageFile::Open(settings.usage_file.empty() ? path + ".usage" : settings.usage_file));
  INHOUSE_ASSIGN_OR_RETURN(const guard::UsageSnapshot usage, keeper->usage_->Load());
  keeper->guard_->limiter().Restore(usage);
  return keeper;
}

absl::Status Doorkeeper::Reload(const GuardSettings& settings) {
  INHOUSE_ASSIGN_OR_RETURN(guard::PolicyOptions rules, ReadPolicy(settings));
  if (keys_required() != rules.keys_required) {
    return base::InputError(
        absl::StatusCode::kFailedPrecondition,
        {.field = "keys",
         .value = rules.keys_required ? "asked for" : "not asked for",
         .expected = "the same as at the start",
         .hint = "Whether keys are asked for at all changes with a restart only."});
  }
  const size_t keys = rules.keys.size();
  INHOUSE_ASSIGN_OR_RETURN(auto policy, guard::Policy::Create(std::move(rules)));
  guard_->SetPolicy(std::move(policy));
  spdlog::info("keys and lists read again: {} keys", keys);
  return absl::OkStatus();
}

void Doorkeeper::Tick() {
  const auto now = std::chrono::steady_clock::now();
  if (usage_ == nullptr || now < next_save_) return;
  next_save_ = now + kSaveInterval;
  Save();
}

void Doorkeeper::Save() {
  if (usage_ == nullptr) return;
  const uint64_t changes = guard_->limiter().changes();
  if (changes == saved_) return;
  const absl::Status status = usage_->Save(guard_->limiter().Snapshot(guard_->Now()));
  if (status.ok()) {
    saved_ = changes;
  } else {
    spdlog::error("the use of keys is not kept: {}", base::Message(status));
  }
}

}  // namespace inhouse::apps
