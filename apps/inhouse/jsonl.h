// Verbs that answer each line of standard input with a line of JSON.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {

// Reads JSON objects from standard input, a line each, and prints what `answer` appends for them,
// flushed line by line, so that another program may hold a conversation. Blank lines are skipped.
// Invalid UTF-8 in a line is read as U+FFFD. A line that is not a JSON object, or that `answer`
// refuses, is answered with {"error": {"code", "message", "field"}}, and the next one is read.
// Returns the exit code: kFailed if a line was answered with an error.
int ForEachJsonLine(
    const std::function<absl::Status(const nlohmann::json& request, std::string* line)>& answer);

// Fields of a request. Errors name the field.
absl::StatusOr<std::string> RequiredString(const nlohmann::json& request, const char* field);
absl::StatusOr<bool> BoolOr(const nlohmann::json& request, const char* field, bool fallback);

// `text` as a JSON string. The line ends of Unicode (U+0085, U+2028, U+2029) are escaped too, so
// that every reader sees one line.
void AppendJsonString(std::string_view text, std::string* out);

}  // namespace inhouse::apps
