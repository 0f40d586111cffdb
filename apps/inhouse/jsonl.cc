#include "apps/inhouse/jsonl.h"

#include <cstdio>
#include <iostream>
#include <streambuf>

#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "base/utf8.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

using Json = nlohmann::json;

constexpr size_t kLineBytesMax = 256 << 20;
constexpr int kDepthMax = 64;

enum class LineState { kRead, kTooLong, kEnd };

// std::getline would take a line of any length.
LineState ReadLine(std::string* line) {
  line->clear();
  std::streambuf* in = std::cin.rdbuf();
  constexpr int kEof = std::char_traits<char>::eof();
  bool too_long = false;
  for (int c = in->sbumpc();; c = in->sbumpc()) {
    if (c == kEof) {
      if (line->empty() && !too_long) return LineState::kEnd;
      break;
    }
    if (c == '\n') break;
    too_long = too_long || line->size() >= kLineBytesMax;
    if (!too_long) line->push_back(static_cast<char>(c));
  }
  return too_long ? LineState::kTooLong : LineState::kRead;
}

absl::StatusOr<Json> ParseObject(const std::string& line, size_t number) {
  const std::string field = fmt::format("line {}", number);
  bool too_deep = false;
  const auto check_depth = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDepthMax;
    return !too_deep;  // what is too deep is dropped as it is read
  };
  Json request;
  try {
    request = Json::parse(base::ReplaceInvalidUtf8(line), check_depth);
  } catch (const Json::exception& error) {
    return base::InvalidInput({.file = "standard input",
                               .field = field,
                               .expected = fmt::format("JSON: {}", error.what())});
  }
  if (!too_deep && request.is_object()) return request;
  return base::InvalidInput(
      {.file = "standard input",
       .field = field,
       .expected = fmt::format("a JSON object of at most {} levels", kDepthMax)});
}

std::string ErrorLine(const absl::Status& status) {
  Json error = {{"code", "invalid_argument"}, {"message", base::Message(status)}};
  if (const auto field = base::ErrorField(status)) error["field"] = *field;
  return Json{{"error", error}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

int ForEachJsonLine(
    const std::function<absl::Status(const Json& request, std::string* line)>& answer) {
  std::string line;
  std::string out;
  bool failed = false;
  std::ios::sync_with_stdio(false);
  for (size_t number = 1; !Interrupted(); ++number) {
    const LineState state = ReadLine(&line);
    if (state == LineState::kEnd) return failed ? kFailed : kDone;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    absl::Status status;
    out.clear();
    if (state == LineState::kTooLong) {
      status = base::InvalidInput({.file = "standard input",
                                   .field = fmt::format("line {}", number),
                                   .expected = fmt::format("at most {} bytes", kLineBytesMax)});
    } else {
      const absl::StatusOr<Json> request = ParseObject(line, number);
      status = request.ok() ? answer(*request, &out) : request.status();
    }
    if (!status.ok()) {
      failed = true;
      out = ErrorLine(status);
    }
    out += '\n';
    // A closed pipe: nobody reads on.
    if (std::fwrite(out.data(), 1, out.size(), stdout) != out.size() || std::fflush(stdout) != 0) {
      return kFailed;
    }
  }
  return kInterrupted;
}

absl::StatusOr<std::string> RequiredString(const Json& request, const char* field) {
  const auto found = request.find(field);
  if (found != request.end() && found->is_string()) return found->get<std::string>();
  return base::InvalidInput({.field = field, .expected = "a string"});
}

absl::StatusOr<bool> BoolOr(const Json& request, const char* field, bool fallback) {
  const auto found = request.find(field);
  if (found == request.end() || found->is_null()) return fallback;
  if (found->is_boolean()) return found->get<bool>();
  return base::InvalidInput({.field = field, .expected = "true or false"});
}

void AppendJsonString(std::string_view text, std::string* out) {
  const std::string quoted = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  for (size_t i = 0; i < quoted.size(); ++i) {
    const std::string_view rest = std::string_view(quoted).substr(i);
    if (rest.starts_with("\xE2\x80\xA8") || rest.starts_with("\xE2\x80\xA9")) {
      *out += rest[2] == '\xA8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else if (rest.starts_with("\xC2\x85")) {
      *out += "\\u0085";
      i += 1;
    } else {
      *out += quoted[i];
    }
  }
}

}  // namespace inhouse::apps
