// The guard of a running server, with its files: keys, lists, the day's usage.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "guard/guard.h"
#include "guard/quota/usage_file.h"

namespace inhouse::apps {

struct GuardSettings {
  std::string keys_file = {};                          // "" = the default one, if it is there
  std::string usage_file = {};                         // "" = beside the keys
  std::optional<std::vector<std::string>> allow = {};  // absent: every address
  std::vector<std::string> deny = {};
  std::vector<std::string> trusted_proxies = {};
  std::string forwarded_header = "x-forwarded-for";
  bool insecure_no_auth = false;
  guard::Quota quota = {};  // of keys that say nothing
};

void AddListFlags(CLI::App& app, GuardSettings* settings);   // --allow, --deny, --trusted-proxy
void AddGuardFlags(CLI::App& app, GuardSettings* settings);  // these and the rest

// The address lists, without keys.
absl::StatusOr<guard::PolicyOptions> ReadLists(const GuardSettings& settings);
// The same with the keys of the file.
absl::StatusOr<guard::PolicyOptions> ReadPolicy(const GuardSettings& settings);

// Owned and used by the main thread; what it makes, the server's threads use.
class Doorkeeper {
 public:
  // Reads keys and usage. Errors name file and field.
  static absl::StatusOr<std::unique_ptr<Doorkeeper>> Start(const GuardSettings& settings);

  const std::shared_ptr<guard::Guard>& guard() const { return guard_; }
  bool keys_required() const { return guard_->policy()->options().keys_required; }

  // Reads the keys and takes over the settings; on an error everything stays as it was. A server
  // that asks for keys never stops to.
  absl::Status Reload(const GuardSettings& settings);

  // Now and then: writes what was used since. What a crash loses is what was used in a second.
  void Tick();
  void Save();

 private:
  std::shared_ptr<guard::Guard> guard_ = {};
  std::unique_ptr<guard::UsageFile> usage_ = {};
  uint64_t saved_ = 0;
  std::chrono::steady_clock::time_point next_save_ = {};
};

}  // namespace inhouse::apps
