// From what the user wrote after --model to a path that the engine opens.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace inhouse::lifecycle {

// A directory, a .gguf file, or the name of a model in the local store ("name" or "name@version"),
// in this order. Returns a path: the directory, or the .gguf file. NotFound says what to pull and
// which names are close.
absl::StatusOr<std::string> ResolveModel(const std::string& model);

}  // namespace inhouse::lifecycle
