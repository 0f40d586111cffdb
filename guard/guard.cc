#include "guard/guard.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::guard {
namespace {

// Whether requests of that kind count against a key's limits: those that make the engine work.
bool IsMetered(Scope scope) {
  switch (scope) {
    case Scope::kChat:
    case Scope::kEmbed:
    case Scope::kBatch:
      return true;
    case Scope::kPublic:
    case Scope::kInfo:
    case Scope::kMetrics:
    case Scope::kAdmin:
      return false;
  }
  return false;
}

std::string_view LimitText(Limit limit) {
  switch (limit) {
    case Limit::kRequestsPerMinute:
      return "requests per minute";
    case Limit::kRequestsPerDay:
      return "requests per day";
    case Limit::kTokensPerMinute:
      return "tokens per minute";
    case Limit::kTokensPerDay:
      return "tokens per day";
    case Limit::kConcurrent:
      return "requests at the same time";
  }
  return "";
}

Denial OverLimit(const Refusal& refusal) {
  std::string message = fmt::format("This API key has reached its limit of {} {}.", refusal.most,
                                    LimitText(refusal.limit));
  if (refusal.wait == absl::InfiniteDuration()) {
    message = fmt::format("The request alone exceeds this API key's limit of {} {}.", refusal.most,
                          LimitText(refusal.limit));
  }
  return {.kind = DenialKind::kLimit, .message = std::move(message), .refusal = refusal};
}

}  // namespace

Pass::~Pass() {
  if (counted_) limiter_->End(key_->record.id);
}

bool Pass::MayUse(std::string_view model) const {
  if (key_ == nullptr || key_->record.models.empty()) return true;
  const std::vector<std::string>& models = key_->record.models;
  return std::find(models.begin(), models.end(), model) != models.end();
}

bool Pass::Has(Scope scope) const { return key_ == nullptr || key_->scopes.Has(scope); }

std::optional<Denial> Pass::TakeTokens(int64_t tokens) const {
  if (key_ == nullptr) return std::nullopt;
  const auto refusal = limiter_->TakeTokens(key_->record.id, key_->quota, tokens, now_());
  return refusal ? std::make_optional(OverLimit(*refusal)) : std::nullopt;
}

void Pass::ChargeTokens(int64_t tokens) const {
  if (key_ != nullptr) limiter_->ChargeTokens(key_->record.id, key_->quota, tokens, now_());
}

void Pass::ReturnTokens(int64_t tokens) const {
  if (key_ != nullptr) limiter_->ReturnTokens(key_->record.id, key_->quota, tokens, now_());
}

Rates Pass::rates() const {
  if (key_ == nullptr) return {};
  return limiter_->RatesOf(key_->record.id, key_->quota, now_());
}

Guard::Guard(std::shared_ptr<const Policy> policy, std::function<absl::Time()> now)
    : now_(std::move(now)), limiter_(std::make_shared<Limiter>()), policy_(std::move(policy)) {}

void Guard::SetPolicy(std::shared_ptr<const Policy> policy) {
  absl::MutexLock lock(&mutex_);
  policy_ = std::move(policy);
}

std::shared_ptr<const Policy> Guard::policy() const {
  absl::MutexLock lock(&mutex_);
  return policy_;
}

Admission Guard::Admit(const Attempt& attempt) const {
  const std::shared_ptr<Pass> pass(new Pass);
  pass->policy_ = policy();
  pass->limiter_ = limiter_;
  pass->now_ = now_;
  Admission admission{.denial = Judge(attempt, pass.get())};
  admission.caller = pass->caller_;
  if (pass->key_ != nullptr) admission.rates = pass->rates();
  if (!admission.denial) admission.pass = pass;
  return admission;
}

std::shared_ptr<const Pass> Guard::PassOf(std::string_view key_id) const {
  const std::shared_ptr<Pass> pass(new Pass);
  pass->policy_ = policy();
  pass->limiter_ = limiter_;
  pass->now_ = now_;
  pass->key_ = pass->policy_->FindById(key_id, now_());
  if (pass->key_ == nullptr) return nullptr;
  pass->caller_.key_id = pass->key_->record.id;
  pass->caller_.tenant = pass->key_->record.Tenant();
  return pass;
}

std::optional<Denial> Guard::Judge(const Attempt& attempt, Pass* pass) const {
  const PolicyOptions& rules = pass->policy_->options();
  const auto peer = IpAddress::Parse(attempt.peer);
  if (!peer) return Denial{.message = "The address of the client is not known."};
  const auto client = ClientAddress(
      *peer, rules.trusted_proxies, rules.forwarded,
      rules.forwarded == ForwardedHeader::kForwarded ? attempt.forwarded : attempt.x_forwarded_for);
  pass->caller_.client = client.ok() ? client->ToString() : peer->ToString();
  if (!client.ok()) {
    return Denial{.message = "The address of the client cannot be read: " +
                             base::Message(client.status())};
  }
  if (rules.deny.Contains(*client) || (rules.allow && !rules.allow->Contains(*client))) {
    return Denial{.message =
                      fmt::format("Requests from {} are not allowed.", pass->caller_.client)};
  }
  if (attempt.scope == Scope::kPublic || !rules.keys_required) return std::nullopt;
  if (attempt.credential.empty()) {
    return Denial{.kind = DenialKind::kNoKey,
                  .message =
                      "You did not provide an API key. Send it as 'Authorization: Bearer "
                      "KEY' or 'x-api-key: KEY'."};
  }
  const absl::Time now = now_();
  const Policy::Key* key = pass->policy_->Find(attempt.credential, now);
  if (key == nullptr) {
    return Denial{.kind = DenialKind::kWrongKey, .message = "The API key is not valid."};
  }
  pass->key_ = key;
  pass->caller_.key_id = key->record.id;
  pass->caller_.key_prefix = ParseSecret(attempt.credential)->prefix;
  pass->caller_.tenant = key->record.Tenant();
  if (key->allow && !key->allow->Contains(*client)) {
    return Denial{
        .kind = DenialKind::kKeyAddress,
        .message = fmt::format("This API key may not be used from {}.", pass->caller_.client)};
  }
  if (!key->scopes.Has(attempt.scope)) {
    return Denial{
        .kind = DenialKind::kScope,
        .message = fmt::format("This API key lacks the scope '{}'.", ScopeName(attempt.scope))};
  }
  if (!IsMetered(attempt.scope) || !attempt.counts) return std::nullopt;
  if (const auto refusal = limiter_->Begin(key->record.id, key->quota, now)) {
    return OverLimit(*refusal);
  }
  pass->counted_ = true;
  return std::nullopt;
}

}  // namespace inhouse::guard
