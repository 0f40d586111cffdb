// What a caller may do: scopes, and the roles that are names for sets of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inhouse::guard {

// What a route asks of its caller. kPublic asks for nothing but an allowed address.
enum class Scope : uint8_t { kPublic, kInfo, kChat, kEmbed, kBatch, kMetrics, kAdmin };

// A set of scopes. A value.
class Scopes {
 public:
  static Scopes All();
  void Add(Scope scope) { bits_ |= Bit(scope); }
  void Add(const Scopes& other) { bits_ |= other.bits_; }
  bool Has(Scope scope) const { return scope == Scope::kPublic || (bits_ & Bit(scope)) != 0; }
  bool empty() const { return bits_ == 0; }
  bool operator==(const Scopes&) const = default;

 private:
  static uint32_t Bit(Scope scope) { return 1U << static_cast<unsigned>(scope); }
  uint32_t bits_ = 0;
};

std::string_view ScopeName(Scope scope);  // "chat"
std::optional<Scope> ParseScope(std::string_view name);
const std::vector<std::string>& ScopeNames();  // those that a key can have

// user: info, chat, embed, batch. monitor: info, metrics. admin: everything.
std::optional<Scopes> RoleScopes(std::string_view role);
const std::vector<std::string>& RoleNames();

}  // namespace inhouse::guard
