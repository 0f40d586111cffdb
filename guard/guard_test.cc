#include "guard/guard.h"

#include <gtest/gtest.h>

#include "guard/keys/key_file.h"

namespace inhouse::guard {
namespace {

CidrList List(const std::vector<std::string>& texts) { return *CidrList::Parse(texts); }

class GuardTest : public testing::Test {
 protected:
  KeyRecord& AddKey(const std::string& role, std::string* text) {
    KeyRecord key;
    key.id = "key_" + std::to_string(options_.keys.size());
    key.role = role;
    *text = *AddSecret(&key, {.now = now_});
    options_.keys.push_back(key);
    options_.keys_required = true;
    return options_.keys.back();
  }
  void Make() {
    guard_ = std::make_unique<Guard>(*Policy::Create(options_), [this] { return now_; });
  }
  Admission Ask(const std::string& credential, Scope scope, std::string_view peer = "127.0.0.1") {
    return guard_->Admit({.peer = peer, .credential = credential, .scope = scope});
  }

  absl::Time now_ = absl::FromUnixSeconds(1'790'000'000);
  PolicyOptions options_ = {};
  std::unique_ptr<Guard> guard_;
};

TEST_F(GuardTest, WithoutKeysEverybodyMayDoEverything) {
  Make();
  for (const Scope scope : {Scope::kPublic, Scope::kChat, Scope::kMetrics, Scope::kAdmin}) {
    const Admission admission = Ask("", scope);
    ASSERT_NE(admission.pass, nullptr);
    EXPECT_TRUE(admission.pass->MayUse("any"));
    EXPECT_FALSE(admission.pass->TakeTokens(1'000'000).has_value());
    EXPECT_EQ(admission.caller.key_id, "");
    EXPECT_EQ(admission.caller.client, "127.0.0.1");
  }
}

TEST_F(GuardTest, ScopesDecide) {
  std::string user;
  std::string monitor;
  std::string admin;
  AddKey("user", &user);
  AddKey("monitor", &monitor);
  AddKey("admin", &admin);
  Make();
  EXPECT_NE(Ask(user, Scope::kChat).pass, nullptr);
  EXPECT_EQ(Ask(user, Scope::kMetrics).denial->kind, DenialKind::kScope);
  EXPECT_EQ(Ask(user, Scope::kAdmin).denial->kind, DenialKind::kScope);
  EXPECT_NE(Ask(monitor, Scope::kMetrics).pass, nullptr);
  EXPECT_EQ(Ask(monitor, Scope::kChat).denial->kind, DenialKind::kScope);
  EXPECT_NE(Ask(admin, Scope::kAdmin).pass, nullptr);
  EXPECT_NE(Ask("", Scope::kPublic).pass, nullptr);
  EXPECT_EQ(Ask("", Scope::kInfo).denial->kind, DenialKind::kNoKey);
}

TEST_F(GuardTest, WrongKeysAreAllAlike) {
  std::string good;
  std::string revoked;
  std::string expired;
  AddKey("user", &good);
  AddKey("user", &revoked).revoked = now_;
  AddKey("user", &expired).expires = now_;
  Make();
  std::string tampered = good;
  tampered.back() = tampered.back() == 'a' ? 'b' : 'a';
  const std::string unknown = NewSecret()->text;
  const Admission first = Ask(unknown, Scope::kChat);
  for (const std::string& text : {tampered, unknown, revoked, expired, std::string("Basic x"),
                                  good + " ", good.substr(0, 11)}) {
    const Admission admission = Ask(text, Scope::kChat);
    ASSERT_TRUE(admission.denial.has_value()) << text;
    EXPECT_EQ(admission.denial->kind, DenialKind::kWrongKey);
    EXPECT_EQ(admission.denial->message, first.denial->message);
    EXPECT_EQ(admission.caller.key_prefix, "");
    EXPECT_FALSE(admission.rates.has_value());
  }
}

TEST_F(GuardTest, AddressListsGoBeforeKeys) {
  std::string user;
  std::string inside;
  AddKey("user", &user);
  AddKey("user", &inside).allow = {{"10.1.0.0/16"}};
  options_.allow = List({"10.0.0.0/8", "2001:db8::/32"});
  options_.deny = List({"10.9.0.0/16"});
  Make();
  EXPECT_NE(Ask(user, Scope::kChat, "10.2.3.4").pass, nullptr);
  EXPECT_NE(Ask(user, Scope::kChat, "::ffff:10.2.3.4").pass, nullptr);
  EXPECT_NE(Ask(user, Scope::kChat, "2001:db8::7").pass, nullptr);
  for (const char* peer : {"192.0.2.1", "10.9.1.1", "::ffff:10.9.1.1", "127.0.0.1", "", "x"}) {
    for (const Scope scope : {Scope::kPublic, Scope::kChat}) {
      const Admission admission = Ask(user, scope, peer);
      ASSERT_TRUE(admission.denial.has_value()) << peer;
      EXPECT_EQ(admission.denial->kind, DenialKind::kAddress);
      EXPECT_EQ(admission.caller.key_id, "") << "the key is not even looked at";
    }
  }
  EXPECT_NE(Ask(inside, Scope::kChat, "10.1.0.1").pass, nullptr);
  EXPECT_EQ(Ask(inside, Scope::kChat, "10.2.0.1").denial->kind, DenialKind::kKeyAddress);
  options_.allow = CidrList();
  Make();
  EXPECT_EQ(Ask(user, Scope::kPublic, "10.2.3.4").denial->kind, DenialKind::kAddress)
      << "an empty list allows nobody";
}

TEST_F(GuardTest, ProxiesAreBelievedOnlyIfTrusted) {
  options_.trusted_proxies = List({"10.0.0.0/24"});
  options_.deny = List({"192.0.2.0/24"});
  Make();
  Attempt attempt{.peer = "10.0.0.1", .x_forwarded_for = {"192.0.2.1"}, .scope = Scope::kChat};
  EXPECT_EQ(guard_->Admit(attempt).denial->kind, DenialKind::kAddress);
  EXPECT_EQ(guard_->Admit(attempt).caller.client, "192.0.2.1");
  attempt.x_forwarded_for = {"192.0.2.1, 198.51.100.1"};
  EXPECT_EQ(guard_->Admit(attempt).caller.client, "198.51.100.1");
  attempt.x_forwarded_for = {"what"};
  EXPECT_EQ(guard_->Admit(attempt).denial->kind, DenialKind::kAddress);
  attempt = {.peer = "192.0.2.1", .x_forwarded_for = {"10.0.0.1"}, .scope = Scope::kChat};
  EXPECT_EQ(guard_->Admit(attempt).denial->kind, DenialKind::kAddress);
  // Only one of the two headers is read: the other is the client's own.
  attempt = {.peer = "10.0.0.1", .forwarded = {"for=192.0.2.1"}, .scope = Scope::kChat};
  EXPECT_NE(guard_->Admit(attempt).pass, nullptr);
}

TEST_F(GuardTest, ModelsAndTenant) {
  std::string text;
  KeyRecord& key = AddKey("user", &text);
  key.models = {"a"};
  Make();
  const Admission admission = Ask(text, Scope::kChat);
  EXPECT_TRUE(admission.pass->MayUse("a"));
  EXPECT_FALSE(admission.pass->MayUse("b"));
  EXPECT_EQ(admission.caller.tenant, "key_0");
  options_.keys[0].tenant = "lab";
  Make();
  EXPECT_EQ(Ask(text, Scope::kChat).caller.tenant, "lab");
}

TEST_F(GuardTest, WorkLeftHereEndsWithItsKey) {
  std::string text;
  KeyRecord& key = AddKey("user", &text);
  key.models = {"a"};
  key.tenant = "ward";
  key.tokens_per_minute = 10;
  key.expires = now_ + absl::Hours(1);
  Make();
  const auto pass = guard_->PassOf("key_0");
  ASSERT_NE(pass, nullptr);
  EXPECT_TRUE(pass->MayUse("a"));
  EXPECT_FALSE(pass->MayUse("b"));
  EXPECT_TRUE(pass->Has(Scope::kChat));
  EXPECT_FALSE(pass->Has(Scope::kAdmin));
  EXPECT_EQ(pass->caller().tenant, "ward");
  // One account, whoever draws from it.
  EXPECT_FALSE(pass->TakeTokens(10).has_value());
  EXPECT_TRUE(Ask(text, Scope::kChat).pass->TakeTokens(10).has_value());
  EXPECT_EQ(guard_->PassOf("key_9"), nullptr);
  now_ += absl::Hours(2);
  EXPECT_EQ(guard_->PassOf("key_0"), nullptr);
}

TEST_F(GuardTest, LimitsHoldForWorkOnlyAndThroughAReload) {
  std::string text;
  AddKey("admin", &text).concurrent = 1;
  options_.default_quota.requests_per_minute = 2;
  Make();
  auto first = Ask(text, Scope::kChat);
  ASSERT_NE(first.pass, nullptr);
  EXPECT_EQ(first.rates->requests->remaining, 1);
  EXPECT_EQ(Ask(text, Scope::kChat).denial->refusal->limit, Limit::kConcurrent);
  for (int i = 0; i < 5; ++i) EXPECT_NE(Ask(text, Scope::kInfo).pass, nullptr);
  // The pass outlives the policy under which it was given.
  guard_->SetPolicy(*Policy::Create(options_));
  EXPECT_EQ(Ask(text, Scope::kChat).denial->refusal->limit, Limit::kConcurrent);
  first = {};
  EXPECT_NE(Ask(text, Scope::kChat).pass, nullptr);
  const Admission refused = Ask(text, Scope::kChat);
  EXPECT_EQ(refused.denial->refusal->limit, Limit::kRequestsPerMinute);
  EXPECT_EQ(refused.caller.key_id, "key_0");
  EXPECT_EQ(refused.rates->requests->remaining, 0);
  now_ += absl::Seconds(30);
  EXPECT_NE(Ask(text, Scope::kEmbed).pass, nullptr);
  // A revoked key ends with the next policy.
  options_.keys[0].revoked = now_;
  guard_->SetPolicy(*Policy::Create(options_));
  EXPECT_EQ(Ask(text, Scope::kInfo).denial->kind, DenialKind::kWrongKey);
}

TEST_F(GuardTest, AZeroOfTheKeyLiftsTheDefault) {
  std::string text;
  AddKey("user", &text).requests_per_minute = 0;
  options_.default_quota.requests_per_minute = 1;
  Make();
  for (int i = 0; i < 10; ++i) EXPECT_NE(Ask(text, Scope::kChat).pass, nullptr);
}

}  // namespace
}  // namespace inhouse::guard
