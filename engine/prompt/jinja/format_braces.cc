// "{}".format(x) of Python.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/prompt/jinja/format_parts.h"
#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Arguments& args) : runtime_(runtime), args_(args) {}

  std::string Run(std::string_view s, int depth) {
    if (depth > 2) ValueError("Max string recursion exceeded");
    std::string out;
    for (size_t i = 0; i < s.size(); ++i) {
      const char c = s[i];
      if ((c == '{' || c == '}') && i + 1 < s.size() && s[i + 1] == c) {
        out += c;
        ++i;
      } else if (c == '}') {
        ValueError("Single '}' encountered in format string");
      } else if (c == '{') {
        const size_t end = FieldEnd(s, i + 1);
        out += Field(s.substr(i + 1, end - i - 1), depth);
        i = end;
      } else {
        out += c;
      }
      runtime_.CheckText(out.size());
    }
    return out;
  }

 private:
  static size_t FieldEnd(std::string_view s, size_t at) {
    int depth = 1;
    for (; at < s.size(); ++at) {
      depth += s[at] == '{' ? 1 : s[at] == '}' ? -1 : 0;
      if (depth == 0) return at;
    }
    ValueError("expected '}' before end of string");
  }

  std::string Field(std::string_view field, int depth) {
    // The name ends at the first '!' or ':' outside of brackets.
    size_t end = 0;
    bool bracket = false;
    for (; end < field.size(); ++end) {
      bracket = field[end] == '[' || (bracket && field[end] != ']');
      if (!bracket && (field[end] == '!' || field[end] == ':')) break;
    }
    Value value = Lookup(field.substr(0, end));
    std::string_view rest = field.substr(end);
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2) ValueError("end of string while looking for conversion specifier");
      const char conversion = rest[1];
      if (conversion == 's')
        value = Value::String(Str(value));
      else if (conversion == 'r')
        value = Value::String(Repr(value));
      else if (conversion == 'a')
        value = Value::String(AsciiOf(Repr(value)));
      else
        ValueError(std::string("Unknown conversion specifier ") + conversion);
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') ValueError("expected ':' after conversion specifier");
    }
    if (!rest.empty()) rest.remove_prefix(1);
    std::string text = FormatSpec(value, Run(rest, depth + 1));
    runtime_.ChargeText(text.size());
    return text;
  }

  Value Lookup(std::string_view name) {
    size_t end = std::min(name.find_first_of(".["), name.size());
    const std::string first(name.substr(0, end));
    Value value;
    const bool digits = first.find_first_not_of("0123456789") == first.npos;
    if (digits) {
      size_t index = automatic_;
      if (first.empty()) {
        ++automatic_;
      } else {
        index = first.size() > 9 ? args_.positional.size() : std::stoul(first);
      }
      if (index >= args_.positional.size()) {
        Fail(Error::Kind::kValue,
             "IndexError: Replacement index " + std::to_string(index) + " out of range");
      }
      value = args_.positional[index];
    } else {
      const auto found = std::find_if(args_.keywords.begin(), args_.keywords.end(),
                                      [&](const auto& k) { return k.first == first; });
      if (found == args_.keywords.end()) {
        Fail(Error::Kind::kValue, "KeyError: " + ReprString(first));
      }
      value = found->second;
    }
    name.remove_prefix(end);
    while (!name.empty()) {
      if (name[0] == '.') {
        end = std::min(name.find_first_of(".[", 1), name.size());
        value = runtime_.GetAttr(value, std::string(name.substr(1, end - 1)));
      } else {
        end = name.find(']');
        if (end == name.npos) ValueError("Missing ']' in format string");
        const std::string key(name.substr(1, end - 1));
        Value index = Value::String(key);
        if (!key.empty() && key.find_first_not_of("0123456789") == key.npos) {
          ParseInteger(key, 10, &index);
        }
        value = runtime_.GetItem(value, index);
        ++end;
      }
      name.remove_prefix(end);
    }
    return value;
  }

  Runtime& runtime_;
  const Arguments& args_;
  size_t automatic_ = 0;
};

}  // namespace

std::string FormatBraces(Runtime& runtime, const std::string& format, const Arguments& args) {
  return BraceFormatter(runtime, args).Run(format, 0);
}

}  // namespace inhouse::engine::jinja
