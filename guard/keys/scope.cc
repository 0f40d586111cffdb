#include "guard/keys/scope.h"

#include <initializer_list>

namespace inhouse::guard {
namespace {

constexpr Scope kAll[] = {Scope::kInfo,  Scope::kChat,    Scope::kEmbed,
                          Scope::kBatch, Scope::kMetrics, Scope::kAdmin};

Scopes Of(std::initializer_list<Scope> list) {
  Scopes scopes;
  for (const Scope scope : list) scopes.Add(scope);
  return scopes;
}

}  // namespace

Scopes Scopes::All() {
  Scopes scopes;
  for (const Scope scope : kAll) scopes.Add(scope);
  return scopes;
}

std::string_view ScopeName(Scope scope) {
  switch (scope) {
    case Scope::kPublic:
      return "public";
    case Scope::kInfo:
      return "info";
    case Scope::kChat:
      return "chat";
    case Scope::kEmbed:
      return "embed";
    case Scope::kBatch:
      return "batch";
    case Scope::kMetrics:
      return "metrics";
    case Scope::kAdmin:
      return "admin";
  }
  return "";
}

std::optional<Scope> ParseScope(std::string_view name) {
  for (const Scope scope : kAll) {
    if (ScopeName(scope) == name) return scope;
  }
  return std::nullopt;
}

const std::vector<std::string>& ScopeNames() {
  static const auto* const kNames = [] {
    auto* names = new std::vector<std::string>;
    for (const Scope scope : kAll) names->emplace_back(ScopeName(scope));
    return names;
  }();
  return *kNames;
}

std::optional<Scopes> RoleScopes(std::string_view role) {
  if (role == "user") return Of({Scope::kInfo, Scope::kChat, Scope::kEmbed, Scope::kBatch});
  if (role == "monitor") return Of({Scope::kInfo, Scope::kMetrics});
  if (role == "admin") return Scopes::All();
  return std::nullopt;
}

const std::vector<std::string>& RoleNames() {
  static const auto* const kNames = new std::vector<std::string>{"user", "monitor", "admin"};
  return *kNames;
}

}  // namespace inhouse::guard
