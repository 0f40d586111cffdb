#include "model-server/http/form.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "model-server/http/message.h"

namespace inhouse::model_server {
namespace {

bool StartsWithIgnoringCase(std::string_view text, std::string_view start) {
  return text.size() >= start.size() &&
         std::equal(start.begin(), start.end(), text.begin(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) ==
                  std::tolower(static_cast<unsigned char>(b));
         });
}

// form-data; name="file"; filename="a.jsonl" -> the value of one parameter, without its quotes.
std::string Parameter(std::string_view header, std::string_view name) {
  for (size_t at = header.find(';'); at != std::string_view::npos;) {
    std::string_view rest = header.substr(at + 1);
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
    const bool found =
        StartsWithIgnoringCase(rest, name) && rest.size() > name.size() && rest[name.size()] == '=';
    if (found) rest.remove_prefix(name.size() + 1);
    std::string value;
    size_t i = 0;
    bool quoted = false;
    for (; i < rest.size() && (quoted || rest[i] != ';'); ++i) {
      if (rest[i] == '"') {
        quoted = !quoted;
      } else if (quoted && rest[i] == '\\' && i + 1 < rest.size()) {
        value.push_back(rest[++i]);
      } else {
        value.push_back(rest[i]);
      }
    }
    if (found) return value;
    at = i < rest.size() ? static_cast<size_t>(rest.data() - header.data()) + i
                         : std::string_view::npos;
  }
  return "";
}

// The headers of one part; false if it has no name.
bool ReadPartHead(std::string_view head, FormPart* part) {
  while (!head.empty()) {
    const size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    constexpr std::string_view kDisposition = "content-disposition:";
    if (StartsWithIgnoringCase(line, kDisposition)) {
      part->name = Parameter(line, "name");
      part->filename = Parameter(line, "filename");
    }
    head.remove_prefix(std::min(end + 2, head.size()));
  }
  return !part->name.empty();
}

}  // namespace

std::optional<std::vector<FormPart>> ParseForm(std::string_view content_type,
                                               std::string_view body) {
  if (!StartsWithIgnoringCase(content_type, "multipart/form-data")) return std::nullopt;
  const std::string boundary = Parameter(content_type, "boundary");
  if (boundary.empty() || boundary.size() > 70) return std::nullopt;  // RFC 2046, 5.1.1
  const std::string first = "--" + boundary;
  const std::string next = "\r\n" + first;
  std::vector<FormPart> parts;
  if (!body.starts_with(first)) return std::nullopt;
  for (size_t at = first.size(); !body.substr(at).starts_with("--");) {
    if (!body.substr(at).starts_with("\r\n") || parts.size() >= kFormPartsMax) return std::nullopt;
    const size_t end = body.find(next, at);
    // A part without a header begins with the empty line itself.
    const size_t blank = body.find("\r\n\r\n", at);
    if (end == std::string_view::npos || blank >= end) return std::nullopt;
    FormPart part{.content = body.substr(blank + 4, end - std::min(blank + 4, end))};
    if (!ReadPartHead(body.substr(at + 2, blank - at - std::min<size_t>(2, blank - at)), &part)) {
      return std::nullopt;
    }
    parts.push_back(std::move(part));
    at = end + next.size();
  }
  return parts;
}

std::string QueryParameter(std::string_view target, std::string_view name) {
  size_t at = target.find('?');
  while (at != std::string_view::npos) {
    std::string_view pair = target.substr(at + 1);
    const size_t end = pair.find('&');
    at = end == std::string_view::npos ? end : at + 1 + end;
    pair = pair.substr(0, end);
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
      return PercentDecode(pair.substr(name.size() + 1));
    }
  }
  return "";
}

}  // namespace inhouse::model_server
