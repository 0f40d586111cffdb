#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "guard/guard.h"
#include "guard/keys/key_file.h"

namespace inhouse::guard {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'790'000'000);

std::string TempPath(const std::string& name) {
  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) / ("guard_keys_" + std::to_string(getpid()));
  std::filesystem::create_directories(directory);
  return (directory / name).string();
}

TEST(Secret, IsLongRandomAndReadBack) {
  std::set<std::string> seen;
  std::set<char> used;
  for (int i = 0; i < 200; ++i) {
    const Secret secret = *NewSecret();
    EXPECT_EQ(secret.text.size(), 55u);
    EXPECT_EQ(secret.text.substr(0, 11), secret.prefix);
    EXPECT_TRUE(seen.insert(secret.text).second);
    used.insert(secret.text.begin() + 12, secret.text.end());
    const auto parsed = ParseSecret(secret.text);
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->prefix, secret.prefix);
    EXPECT_TRUE(SameDigest(parsed->digest, secret.digest));
    base::Sha256 hash;
    hash.Update(secret.text);
    EXPECT_EQ(DigestHex(secret.digest), hash.FinishHex());
  }
  EXPECT_EQ(used.size(), 62u) << "every character of the alphabet comes up";
}

TEST(Secret, WhatIsNone) {
  const std::string good = NewSecret()->text;
  for (const std::string& text :
       {std::string(), good + "x", good.substr(1), "xx" + good.substr(2), "ih_" + good,
        good.substr(0, 54) + "-", good.substr(0, 54) + std::string(1, '\0'),
        std::string(1 << 20, 'a')}) {
    EXPECT_FALSE(ParseSecret(text).has_value());
  }
}

TEST(Digest, EveryBitCounts) {
  const Digest digest = NewSecret()->digest;
  for (size_t bit = 0; bit < 256; ++bit) {
    Digest other = digest;
    other[bit / 8] = static_cast<uint8_t>(other[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(SameDigest(digest, other));
  }
  EXPECT_EQ(ParseDigest(DigestHex(digest)), digest);
  EXPECT_FALSE(ParseDigest("zz").has_value());
}

TEST(Scopes, Roles) {
  EXPECT_TRUE(RoleScopes("user")->Has(Scope::kChat));
  EXPECT_FALSE(RoleScopes("user")->Has(Scope::kMetrics));
  EXPECT_FALSE(RoleScopes("user")->Has(Scope::kAdmin));
  EXPECT_TRUE(RoleScopes("monitor")->Has(Scope::kMetrics));
  EXPECT_FALSE(RoleScopes("monitor")->Has(Scope::kChat));
  EXPECT_EQ(RoleScopes("admin"), Scopes::All());
  EXPECT_FALSE(RoleScopes("root").has_value());
  for (const std::string& name : ScopeNames()) EXPECT_EQ(ScopeName(*ParseScope(name)), name);
  EXPECT_FALSE(ParseScope("public").has_value()) << "no key needs it";
}

KeyRecord FullKey() {
  KeyRecord key;
  key.id = *NewRecordId();
  key.name = "team \"a\"\n中文";
  key.tenant = "radiology";
  key.role = "user";
  key.scopes = {"metrics"};
  key.models = {"deepseek-v3", "a/b"};
  key.allow = {{"10.0.0.0/8", "2001:db8::/32"}};
  key.requests_per_minute = 60;
  key.tokens_per_day = 0;
  key.created = kNow;
  key.expires = kNow + absl::Hours(24);
  EXPECT_TRUE(AddSecret(&key, {.now = kNow}).ok());
  return key;
}

TEST(KeyFile, RoundTrip) {
  const KeyRecord key = FullKey();
  KeyRecord bare;
  bare.id = "key_bare";
  const auto read = ParseKeys("k.toml", FormatKeys({key, bare}));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 2u);
  const KeyRecord& again = (*read)[0];
  EXPECT_EQ(again.name, key.name);
  EXPECT_EQ(again.tenant, key.tenant);
  EXPECT_EQ(again.models, key.models);
  EXPECT_EQ(again.allow, key.allow);
  EXPECT_EQ(again.requests_per_minute, 60);
  EXPECT_EQ(again.tokens_per_day, 0);
  EXPECT_FALSE(again.tokens_per_minute.has_value());
  EXPECT_EQ(again.created, key.created);
  EXPECT_EQ(again.expires, key.expires);
  EXPECT_EQ(again.revoked, absl::InfiniteFuture());
  ASSERT_EQ(again.secrets.size(), 1u);
  EXPECT_TRUE(SameDigest(again.secrets[0].digest, key.secrets[0].digest));
  EXPECT_FALSE((*read)[1].allow.has_value()) << "absent is not empty";
  EXPECT_EQ(FormatKeys(*read), FormatKeys({key, bare}));
}

TEST(KeyFile, ErrorsNameLineAndField) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[[key]]\nname = 'x'\n", "k.toml:1: key[0].id"},
      {"[[key]]\nid = 'a'\nrole = 'root'\n", "k.toml:3: key[0].role: value 'root'"},
      {"[[key]]\nid = 'a'\nscopes = ['chat', 'fly']\n", "k.toml:3: key[0].scopes: value 'fly'"},
      {"[[key]]\nid = 'a'\nallow = ['10.0.0.1/8']\n", "k.toml:3: key[0].allow"},
      {"[[key]]\nid = 'a'\nrequests_per_minute = -1\n", "k.toml:3: key[0].requests_per_minute"},
      {"[[key]]\nid = 'a'\nexpires = 'soon'\n", "k.toml:3: key[0].expires: value 'soon'"},
      {"[[key]]\nid = 'a'\nexpire = '2026-01-01T00:00:00Z'\n", "did you mean 'expires'?"},
      {"[[key]]\nid = 'a'\n[[key]]\nid = 'a'\n", "k.toml:4: key[1].id: value 'a'"},
      {"[[key]]\nid = 'a'\n[[key.secret]]\nprefix = 'ih_12345678'\nsha256 = 'xyz'\n",
       "k.toml:5: key[0].secret[0].sha256"},
      {"[[key]]\nid = 'a'\n[[key.secret]]\nprefix = 'ih_1'\nsha256 = '" + std::string(64, '0') +
           "'\n",
       "k.toml:4: key[0].secret[0].prefix"},
  };
  for (const auto& [text, expected] : cases) {
    const auto read = ParseKeys("k.toml", text);
    EXPECT_FALSE(read.ok()) << text;
    EXPECT_NE(base::Message(read.status()).find(expected), std::string::npos) << read.status();
  }
}

TEST(KeyFile, OnlyItsOwnerMayReadIt) {
  const std::string path = TempPath("mode.toml");
  ASSERT_TRUE(EditKeys(path, [](auto* keys) {
                keys->push_back(FullKey());
                return absl::OkStatus();
              }).ok());
  struct stat info = {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_TRUE(LoadKeys(path).ok());
  chmod(path.c_str(), 0640);
  const auto refused = LoadKeys(path);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status()));
  EXPECT_NE(base::Message(refused.status()).find("0640"), std::string::npos) << refused.status();
  EXPECT_TRUE(absl::IsNotFound(LoadKeys(TempPath("none.toml")).status()));
}

TEST(KeyFile, AFailedEditWritesNothing) {
  const std::string path = TempPath("failed.toml");
  EXPECT_FALSE(EditKeys(path, [](auto*) { return absl::InternalError("no"); }).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(KeyFile, ConcurrentEditsAllCount) {
  const std::string path = TempPath("concurrent.toml");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&path, t] {
      for (int i = 0; i < 8; ++i) {
        EXPECT_TRUE(EditKeys(path, [t, i](auto* keys) {
                      KeyRecord key;
                      key.id = "k" + std::to_string(t) + "_" + std::to_string(i);
                      keys->push_back(key);
                      return absl::OkStatus();
                    }).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(LoadKeys(path)->size(), 32u);
}

TEST(KeyFile, FindsByIdPrefixAndUniqueName) {
  std::vector<KeyRecord> keys = {FullKey(), FullKey()};
  keys[1].name = "other";
  EXPECT_EQ(*FindKey(&keys, keys[0].id), &keys[0]);
  EXPECT_EQ(*FindKey(&keys, keys[1].secrets[0].prefix), &keys[1]);
  EXPECT_EQ(*FindKey(&keys, "other"), &keys[1]);
  EXPECT_TRUE(absl::IsNotFound(FindKey(&keys, "nobody").status()));
  keys[1].name = keys[0].name;
  EXPECT_TRUE(absl::IsFailedPrecondition(FindKey(&keys, keys[0].name).status()));
}

TEST(Rotation, OldSecretLivesThroughTheGrace) {
  KeyRecord key;
  key.id = "k";
  key.role = "user";
  const std::string first = *AddSecret(&key, {.now = kNow});
  const std::string second = *AddSecret(&key, {.grace = absl::Hours(1), .now = kNow});
  const auto policy = *Policy::Create({.keys_required = true, .keys = {key}});
  const absl::Time within = kNow + absl::Minutes(59);
  const absl::Time after = kNow + absl::Minutes(61);
  ASSERT_NE(policy->Find(first, within), nullptr);
  EXPECT_EQ(policy->Find(first, within)->record.id, "k");
  EXPECT_EQ(policy->Find(first, after), nullptr);
  EXPECT_NE(policy->Find(second, within), nullptr);
  EXPECT_NE(policy->Find(second, after), nullptr);
  // A third without grace ends both at once; what is over is forgotten.
  const std::string third = *AddSecret(&key, {.now = after});
  EXPECT_EQ(key.secrets.size(), 2u);
  const auto later = *Policy::Create({.keys_required = true, .keys = {key}});
  EXPECT_EQ(later->Find(second, after), nullptr);
  EXPECT_NE(later->Find(third, after), nullptr);
  EXPECT_EQ(key.State(after), "active");
}

}  // namespace
}  // namespace inhouse::guard
