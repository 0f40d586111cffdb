#include "guard/access/client.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "base/status.h"

namespace inhouse::guard {
namespace {

enum class Quotes { kPlain, kHonoured };

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Elements of a list, split at `separator`; with `quotes`, only outside of quoted strings. Nothing
// if a quoted string does not end: whoever wrote the left part could hide in it what a proxy wrote
// behind it.
std::optional<std::vector<std::string_view>> Split(std::string_view text, char separator,
                                                   Quotes quotes) {
  std::vector<std::string_view> out;
  bool quoted = false;
  size_t start = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!quoted && text[i] == separator) {
      out.push_back(Trim(text.substr(start, i - start)));
      start = i + 1;
    } else if (quoted && text[i] == '\\') {
      ++i;
    } else if (quotes == Quotes::kHonoured && text[i] == '"') {
      quoted = !quoted;
    }
  }
  if (quoted) return std::nullopt;
  out.push_back(Trim(text.substr(start)));
  return out;
}

// An address with or without a port: "1.2.3.4", "1.2.3.4:80", "::1", "[::1]", "[::1]:80".
std::optional<IpAddress> ParseHop(std::string_view hop) {
  if (hop.starts_with('[')) {
    const size_t end = hop.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view rest = hop.substr(end + 1);
    if (!rest.empty() && rest.front() != ':') return std::nullopt;
    return IpAddress::Parse(hop.substr(1, end - 1));
  }
  if (std::count(hop.begin(), hop.end(), ':') == 1) hop = hop.substr(0, hop.find(':'));
  return IpAddress::Parse(hop);
}

// RFC 7239: the `for` parameter of one element; "" if there is none.
std::string_view ForParameter(std::string_view element) {
  const auto pairs = Split(element, ';', Quotes::kHonoured);
  for (std::string_view pair : pairs.value_or(std::vector<std::string_view>())) {
    if (pair.size() < 4 || pair[3] != '=') continue;
    if (!std::equal(pair.begin(), pair.begin() + 3, "for", [](char a, char b) {
          return absl::ascii_tolower(static_cast<unsigned char>(a)) == b;
        })) {
      continue;
    }
    std::string_view value = pair.substr(4);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    return value;
  }
  return {};
}

absl::Status Unreadable(ForwardedHeader header, std::string_view hop) {
  return base::InvalidInput(
      {.field = header == ForwardedHeader::kForwarded ? "Forwarded" : "X-Forwarded-For",
       .value = std::string(hop),
       .expected = "an IP address in every hop up to the client's"});
}

}  // namespace

absl::StatusOr<IpAddress> ClientAddress(const IpAddress& peer, const CidrList& trusted,
                                        ForwardedHeader header,
                                        const std::vector<std::string_view>& lines) {
  IpAddress client = peer;
  if (header == ForwardedHeader::kNone || !trusted.Contains(peer)) return client;
  const bool rfc7239 = header == ForwardedHeader::kForwarded;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    const auto elements = Split(*line, ',', rfc7239 ? Quotes::kHonoured : Quotes::kPlain);
    if (!elements) return Unreadable(header, *line);
    for (auto element = elements->rbegin(); element != elements->rend(); ++element) {
      if (element->empty()) continue;  // lists may have empty elements (RFC 9110, 5.6.1)
      const std::string_view hop = rfc7239 ? ForParameter(*element) : *element;
      const auto address = ParseHop(hop);
      if (!address) return Unreadable(header, hop);
      client = *address;
      if (!trusted.Contains(client)) return client;
    }
  }
  return client;
}

}  // namespace inhouse::guard
