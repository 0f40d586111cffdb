#include "engine/sampling/grammar/formats.h"

#include <string>
#include <vector>

namespace inhouse::engine {
namespace {

struct NamedFormat {
  std::string_view name;
  std::string pattern;
};

const std::vector<NamedFormat>& Formats() {
  static const std::vector<NamedFormat> formats = [] {
    // February has 29 days in years that 4 divides, but not 100, or 400 does.
    const std::string date =
        "([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|"
        "30)"
        "|02-(0[1-9]|1[0-9]|2[0-8]))"
        "|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29)";
    // Three or six digits of a second: what every reader takes.
    const std::string clock = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{3}([0-9]{3})?)?";
    const std::string zone = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    const std::string byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    const std::string h = "[0-9a-f]";
    const std::string label = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?";
    const std::string host = label + "(\\." + label + "){0,4}";
    const std::string group = h + "{1,4}";
    const std::string path = "(/([a-zA-Z0-9._~-]|%[0-9A-F]{2})*)*";
    const std::string query = "([a-zA-Z0-9._~=&+/-]|%[0-9A-F]{2})*";
    const std::string uri = "[a-z][a-z0-9+.-]{1,15}://" + host + "(:[1-9][0-9]{0,3})?" + path +
                            "(\\?" + query + ")?(#" + query + ")?";
    const std::string days = "[0-9]{1,4}D";
    const std::string times =
        "T([0-9]{1,4}H([0-9]{1,4}M)?([0-9]{1,4}S)?|[0-9]{1,4}M([0-9]{1,4}S)?"
        "|[0-9]{1,4}S)";
    return std::vector<NamedFormat>{
        {"date", date},
        {"time", clock + zone},
        {"date-time", date + "T" + clock + zone},
        {"duration", "P(" + days + "(" + times + ")?|" + times +
                         "|[0-9]{1,4}W|[0-9]{1,4}Y([0-9]{1,4}M([0-9]{1,4}D)?)?|[0-9]{1,4}M(" +
                         days + ")?)"},
        {"uuid", h + "{8}-" + h + "{4}-" + h + "{4}-" + h + "{4}-" + h + "{12}"},
        {"email", "[a-zA-Z0-9_+-]{1,32}(\\.[a-zA-Z0-9_+-]{1,32}){0,2}@" + label + "(\\." + label +
                      "){0,3}\\.[a-zA-Z]{2,12}"},
        {"hostname", host},
        {"ipv4", byte + "\\." + byte + "\\." + byte + "\\." + byte},
        {"ipv6", "(" + group + ":){7}" + group + "|(" + group + ":){1,5}(:" + group + "){1,2}|::(" +
                     group + ":){0,5}" + group + "|::"},
        {"uri", uri},
        {"url", uri},
        {"json-pointer", "(/([a-zA-Z0-9_-]|~[01])*)*"},
        // OpenAPI's and pydantic's names for what is not checked.
        {"password", ""},
        {"binary", ""},
        {"byte", ""},
        {"path", ""},
        {"file-path", ""},
        {"directory-path", ""},
        {"int32", ""},
        {"int64", ""},
        {"float", ""},
        {"double", ""},
    };
  }();
  return formats;
}

}  // namespace

std::optional<std::string_view> FormatPattern(std::string_view format) {
  for (const NamedFormat& entry : Formats()) {
    if (entry.name == format) return entry.pattern;
  }
  return std::nullopt;
}

std::string FormatNames() {
  std::string out;
  for (const NamedFormat& entry : Formats()) {
    if (!entry.pattern.empty()) out += (out.empty() ? "" : ", ") + std::string(entry.name);
  }
  return out;
}

}  // namespace inhouse::engine
