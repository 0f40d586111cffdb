// Several schemas that must all hold, as one.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"

namespace inhouse::engine {

// Keywords that say nothing about what is valid.
bool IsAnnotation(const std::string& keyword);

// A schema that a value satisfies if it satisfies both. InvalidArgument, with the keyword as its
// field, for pairs that one schema cannot say.
absl::StatusOr<nlohmann::ordered_json> MergeSchemas(const nlohmann::ordered_json& a,
                                                    const nlohmann::ordered_json& b);

// Comparisons that MergeSchemas makes, about.
size_t MergeWork(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b);

}  // namespace inhouse::engine
