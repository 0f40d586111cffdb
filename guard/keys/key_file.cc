#include "guard/keys/key_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/config_file.h"
#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::guard {
namespace {

constexpr unsigned kOwnerOnly = 0600;
constexpr int64_t kCountMax = 1'000'000'000'000'000;
constexpr size_t kNameBytesMax = 200;
constexpr std::string_view kHeader =
    "# API keys of inhouse. Written by `inhouse keys`; a running server reads it again on SIGHUP.\n"
    "# Only digests of keys are kept here: a lost key cannot be read back, but rotated.\n";

std::string UtcText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

void ReadTime(const base::ConfigTable& table, std::string_view name, absl::Time* out) {
  std::string text;
  std::string error;
  if (!table.Read(name, &text)) return;
  if (!absl::ParseTime(absl::RFC3339_full, text, out, &error)) {
    table.Refuse(name, text, "a time, as \"2026-12-31T23:59:59Z\"");
  }
}

void ReadCount(const base::ConfigTable& table, std::string_view name, std::optional<int64_t>* out) {
  int64_t value = 0;
  if (table.Read(name, &value, {0, kCountMax})) *out = value;
}

bool IsPrefix(std::string_view text) {
  return ParseSecret(std::string(text) + "_" + std::string(43, '0')).has_value();
}

StoredSecret ReadSecret(const base::ConfigTable& table) {
  StoredSecret secret;
  if (!table.Read("prefix", &secret.prefix) || !IsPrefix(secret.prefix)) {
    table.Refuse("prefix", secret.prefix, "the first 11 characters of a key");
  }
  std::string hex;
  table.Read("sha256", &hex);
  if (const auto digest = ParseDigest(hex)) {
    secret.digest = *digest;
  } else {
    table.Refuse("sha256", hex, "64 lower-case hexadecimal digits");
  }
  ReadTime(table, "created", &secret.created);
  ReadTime(table, "expires", &secret.expires);
  return secret;
}

void CheckScopes(const base::ConfigTable& table, const KeyRecord& key) {
  for (const std::string& scope : key.scopes) {
    if (!ParseScope(scope)) {
      table.Refuse("scopes", scope,
                   fmt::format("scopes out of {}", base::TomlStrings(ScopeNames())));
    }
  }
  if (!key.role.empty() && !RoleScopes(key.role)) {
    table.Refuse("role", key.role, fmt::format("one of {}", base::TomlStrings(RoleNames())));
  }
}

KeyRecord ReadKey(const base::ConfigTable& table) {
  KeyRecord key;
  if (!table.Read("id", &key.id) || key.id.empty() || key.id.size() > kNameBytesMax) {
    table.Refuse("id", key.id, "the id of the key");
  }
  table.Read("name", &key.name);
  table.Read("tenant", &key.tenant);
  table.Read("role", &key.role);
  table.Read("scopes", &key.scopes);
  CheckScopes(table, key);
  table.Read("models", &key.models);
  if (std::vector<std::string> blocks; table.Read("allow", &blocks)) {
    if (const auto list = CidrList::Parse(blocks); !list.ok()) {
      table.Refuse("allow", "", base::Message(list.status()));
    }
    key.allow = std::move(blocks);
  }
  ReadCount(table, "requests_per_minute", &key.requests_per_minute);
  ReadCount(table, "requests_per_day", &key.requests_per_day);
  ReadCount(table, "tokens_per_minute", &key.tokens_per_minute);
  ReadCount(table, "tokens_per_day", &key.tokens_per_day);
  ReadCount(table, "concurrent", &key.concurrent);
  ReadTime(table, "created", &key.created);
  ReadTime(table, "expires", &key.expires);
  ReadTime(table, "revoked", &key.revoked);
  for (const base::ConfigTable& secret : table.Tables("secret")) {
    key.secrets.push_back(ReadSecret(secret));
  }
  return key;
}

void AppendTime(std::string_view name, absl::Time time, std::string* out) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return;
  *out += fmt::format("{} = {}\n", name, base::TomlString(UtcText(time)));
}

void AppendKey(const KeyRecord& key, std::string* out) {
  const auto text = [out](std::string_view name, const std::string& value) {
    if (!value.empty()) *out += fmt::format("{} = {}\n", name, base::TomlString(value));
  };
  const auto count = [out](std::string_view name, const std::optional<int64_t>& value) {
    if (value) *out += fmt::format("{} = {}\n", name, *value);
  };
  *out += "\n[[key]]\n";
  text("id", key.id);
  text("name", key.name);
  text("tenant", key.tenant);
  text("role", key.role);
  if (!key.scopes.empty()) *out += fmt::format("scopes = {}\n", base::TomlStrings(key.scopes));
  if (!key.models.empty()) *out += fmt::format("models = {}\n", base::TomlStrings(key.models));
  if (key.allow) *out += fmt::format("allow = {}\n", base::TomlStrings(*key.allow));
  count("requests_per_minute", key.requests_per_minute);
  count("requests_per_day", key.requests_per_day);
  count("tokens_per_minute", key.tokens_per_minute);
  count("tokens_per_day", key.tokens_per_day);
  count("concurrent", key.concurrent);
  AppendTime("created", key.created, out);
  AppendTime("expires", key.expires, out);
  AppendTime("revoked", key.revoked, out);
  for (const StoredSecret& secret : key.secrets) {
    *out += "[[key.secret]]\n";
    text("prefix", secret.prefix);
    text("sha256", DigestHex(secret.digest));
    AppendTime("created", secret.created, out);
    AppendTime("expires", secret.expires, out);
  }
}

}  // namespace

absl::StatusOr<std::vector<KeyRecord>> ParseKeys(const std::string& path, std::string_view text) {
  INHOUSE_ASSIGN_OR_RETURN(const auto file, base::ConfigFile::Parse(path, text));
  std::vector<KeyRecord> keys;
  std::set<std::string> seen;
  for (const base::ConfigTable& table : file->root().Tables("key")) {
    keys.push_back(ReadKey(table));
    if (!seen.insert(keys.back().id).second) {
      table.Refuse("id", keys.back().id, "an id that no other key has");
    }
    for (const StoredSecret& secret : keys.back().secrets) {
      if (!seen.insert(secret.prefix).second) {
        table.Refuse("secret", secret.prefix, "a prefix that no other secret has");
      }
    }
  }
  INHOUSE_RETURN_IF_ERROR(file->status());
  return keys;
}

absl::StatusOr<std::vector<KeyRecord>> LoadKeys(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return base::OsError(errno, path, "open");
  if ((info.st_mode & 077) != 0) {
    return base::InputError(absl::StatusCode::kFailedPrecondition,
                            {.file = path,
                             .field = "mode",
                             .value = fmt::format("{:04o}", info.st_mode & 07777),
                             .expected = "a keys file that only its owner can read",
                             .hint = fmt::format("`chmod 600 {}`.", path)});
  }
  INHOUSE_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path));
  return ParseKeys(path, text);
}

std::string FormatKeys(const std::vector<KeyRecord>& keys) {
  std::string out(kHeader);
  for (const KeyRecord& key : keys) AppendKey(key, &out);
  return out;
}

absl::Status EditKeys(const std::string& path,
                      const std::function<absl::Status(std::vector<KeyRecord>* keys)>& edit) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  const std::string lock_path = path + ".lock";
  const int lock = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kOwnerOnly);
  if (lock < 0) return base::OsError(errno, lock_path, "open");
  const absl::Cleanup unlock = [lock] { close(lock); };
  while (flock(lock, LOCK_EX) != 0) {
    if (errno != EINTR) return base::OsError(errno, lock_path, "lock");
  }
  absl::StatusOr<std::vector<KeyRecord>> keys = LoadKeys(path);
  if (absl::IsNotFound(keys.status())) keys = std::vector<KeyRecord>();
  INHOUSE_RETURN_IF_ERROR(keys.status());
  INHOUSE_RETURN_IF_ERROR(edit(&*keys));
  const std::string text = FormatKeys(*keys);
  // What cannot be read back would lock everybody out at the next start.
  INHOUSE_RETURN_IF_ERROR(ParseKeys(path, text).status());
  return base::ReplaceFile(path, text, kOwnerOnly);
}

absl::StatusOr<KeyRecord*> FindKey(std::vector<KeyRecord>* keys, std::string_view name) {
  KeyRecord* found = nullptr;
  bool several = false;
  for (KeyRecord& key : *keys) {
    const bool has_prefix =
        std::any_of(key.secrets.begin(), key.secrets.end(),
                    [name](const StoredSecret& secret) { return secret.prefix == name; });
    if (key.id == name || has_prefix) return &key;
    if (key.name == name) {
      several = found != nullptr;
      found = &key;
    }
  }
  if (several) {
    return base::InputError(absl::StatusCode::kFailedPrecondition,
                            {.field = "KEY",
                             .value = std::string(name),
                             .expected = "a name that only one key has",
                             .hint = "`inhouse keys list` shows the ids."});
  }
  if (found != nullptr) return found;
  return base::InputError(absl::StatusCode::kNotFound,
                          {.field = "KEY",
                           .value = std::string(name),
                           .expected = "the id, the prefix or the name of a key",
                           .hint = "`inhouse keys list` shows them."});
}

absl::StatusOr<std::string> AddSecret(KeyRecord* key, const Rotation& rotation) {
  INHOUSE_ASSIGN_OR_RETURN(const Secret secret, NewSecret());
  std::erase_if(key->secrets,
                [&rotation](const StoredSecret& old) { return old.expires <= rotation.now; });
  for (StoredSecret& old : key->secrets) {
    old.expires = std::min(old.expires, rotation.now + rotation.grace);
  }
  key->secrets.push_back(
      {.prefix = secret.prefix, .digest = secret.digest, .created = rotation.now});
  return secret.text;
}

}  // namespace inhouse::guard
