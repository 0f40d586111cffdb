#include "engine/prompt/jinja/json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/status.h"
#include "engine/prompt/jinja/number.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

void AppendUnit(char32_t unit, std::string* out) {
  char buffer[16];
  std::snprintf(buffer, sizeof(buffer), "\\u%04x", static_cast<unsigned>(unit));
  *out += buffer;
}

void AppendJsonString(std::string_view text, bool ensure_ascii, std::string* out) {
  *out += '"';
  for (size_t at = 0; at < text.size();) {
    const size_t before = at;
    const char32_t c = NextChar(text, &at);
    switch (c) {
      case '"':
        *out += "\\\"";
        continue;
      case '\\':
        *out += "\\\\";
        continue;
      case '\n':
        *out += "\\n";
        continue;
      case '\r':
        *out += "\\r";
        continue;
      case '\t':
        *out += "\\t";
        continue;
      case '\f':
        *out += "\\f";
        continue;
      case '\b':
        *out += "\\b";
        continue;
      default:
        break;
    }
    if (c < 0x20 || (ensure_ascii && c > 0x7E && c < 0x10000)) {
      AppendUnit(c, out);
    } else if (ensure_ascii && c >= 0x10000) {
      AppendUnit(0xD800 + ((c - 0x10000) >> 10), out);
      AppendUnit(0xDC00 + ((c - 0x10000) & 0x3FF), out);
    } else {
      *out += text.substr(before, at - before);
    }
  }
  *out += '"';
}

std::string JsonFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return FloatRepr(value);
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  std::string Write(const Value& value) {
    Append(value, 0);
    return std::move(out_);
  }

 private:
  void Append(const Value& value, int level) {
    if (out_.size() > (size_t{1} << 28)) LimitError("a text is longer than 256 MiB");
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        return;
      case Kind::kBool:
        out_ += value.AsBool() ? "true" : "false";
        return;
      case Kind::kInt:
      case Kind::kBigInt:
        out_ += IntegerText(value);
        return;
      case Kind::kFloat:
        out_ += JsonFloat(value.AsFloat());
        return;
      case Kind::kString:
        return AppendJsonString(value.Text(), style_.ensure_ascii, &out_);
      case Kind::kList:
      case Kind::kTuple:
        return AppendList(value.Items(), level);
      case Kind::kDict:
        return AppendDict(value.AsDict(), level);
      default:
        TypeError("Object of type " + std::string(TypeName(value)) + " is not JSON serializable");
    }
  }

  void NewLine(int level) {
    if (!style_.indent) return;
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += *style_.indent;
  }

  void AppendList(const std::vector<Value>& items, int level) {
    if (items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      NewLine(level + 1);
      Append(items[i], level + 1);
    }
    NewLine(level);
    out_ += ']';
  }

  void AppendDict(const DictObject& dict, int level) {
    if (dict.entries.empty()) {
      out_ += "{}";
      return;
    }
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      for (const auto* e : entries) Compare(entries[0]->first, e->first, "<");
      std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
        return Compare(a->first, b->first, "<") < 0;
      });
    }
    out_ += '{';
    bool first = true;
    for (const auto* entry : entries) {
      if (!first) out_ += style_.item_separator;
      first = false;
      NewLine(level + 1);
      AppendKey(entry->first);
      out_ += style_.key_separator;
      Append(entry->second, level + 1);
    }
    NewLine(level);
    out_ += '}';
  }

  void AppendKey(const Value& key) {
    switch (key.kind()) {
      case Kind::kString:
        return AppendJsonString(key.Text(), style_.ensure_ascii, &out_);
      case Kind::kNone:
        out_ += "\"null\"";
        return;
      case Kind::kBool:
        out_ += key.AsBool() ? "\"true\"" : "\"false\"";
        return;
      case Kind::kInt:
      case Kind::kBigInt:
        out_ += '"' + IntegerText(key) + '"';
        return;
      case Kind::kFloat:
        out_ += '"' + JsonFloat(key.AsFloat()) + '"';
        return;
      default:
        TypeError("keys must be str, int, float, bool or None, not " + std::string(TypeName(key)));
    }
  }

  const JsonStyle& style_;
  std::string out_;
};

// Builds values while nlohmann reads: it would turn integers of more than 64 bits into floats.
class ValueBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return Add(Value::None()); }
  bool boolean(bool value) override { return Add(Value::Bool(value)); }
  bool number_integer(int64_t value) override { return Add(Value::Int(value)); }
  bool number_unsigned(uint64_t value) override {
    Value out;
    ParseInteger(std::to_string(value), 10, &out);
    return Add(std::move(out));
  }
  bool number_float(double value, const std::string& text) override {
    Value out;
    if (text.find_first_of(".eE") == text.npos && ParseInteger(text, 10, &out)) {
      return Add(std::move(out));
    }
    return Add(Value::Float(value));
  }
  bool string(std::string& value) override { return Add(Value::String(std::move(value))); }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(size_t /*size*/) override { return Open(true); }
  bool key(std::string& value) override {
    stack_.back().key = Value::String(std::move(value));
    return true;
  }
  bool end_object() override {
    auto dict = std::move(stack_.back().dict);
    stack_.pop_back();
    return Add(Value::Dict(std::move(dict)));
  }
  bool start_array(size_t /*size*/) override { return Open(false); }
  bool end_array() override {
    auto items = std::move(stack_.back().items);
    stack_.pop_back();
    return Add(Value::List(std::move(items)));
  }
  bool parse_error(size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& e) override {
    (void)position;
    message_ = e.what();
    return false;
  }

  const std::string& message() const { return message_; }
  Value Take() { return std::move(result_); }

 private:
  struct Frame {
    std::shared_ptr<DictObject> dict;  // null for an array
    std::vector<Value> items;
    Value key;
  };

  bool Open(bool object) {
    if (stack_.size() >= static_cast<size_t>(kMaxValueDepth) - 8) {
      message_ = "nested more than " + std::to_string(kMaxValueDepth - 8) + " levels deep";
      return false;
    }
    stack_.push_back({object ? std::make_shared<DictObject>() : nullptr, {}, {}});
    return true;
  }

  bool Add(Value value) {
    if (stack_.empty()) {
      result_ = std::move(value);
    } else if (stack_.back().dict != nullptr) {
      stack_.back().dict->Set(stack_.back().key, std::move(value));
    } else {
      stack_.back().items.push_back(std::move(value));
    }
    return true;
  }

  std::vector<Frame> stack_;
  Value result_ = Value::None();
  std::string message_;
};

}  // namespace

std::string ToJson(const Value& value, const JsonStyle& style) {
  return JsonWriter(style).Write(value);
}

Value FromJson(const nlohmann::ordered_json& json) {
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value::Bool(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value::Int(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned: {
      Value out;
      ParseInteger(std::to_string(json.get<uint64_t>()), 10, &out);
      return out;
    }
    case nlohmann::ordered_json::value_t::number_float:
      return Value::Float(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return Value::String(json.get<std::string>());
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(FromJson(item));
      return Value::List(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      auto dict = std::make_shared<DictObject>();
      for (const auto& [key, value] : json.items()) dict->Set(Value::String(key), FromJson(value));
      return Value::Dict(std::move(dict));
    }
    case nlohmann::ordered_json::value_t::null:
    case nlohmann::ordered_json::value_t::binary:
    case nlohmann::ordered_json::value_t::discarded:
      return Value::None();
  }
  return Value::None();
}

absl::StatusOr<Value> ParseJson(std::string_view text, const std::string& what) {
  ValueBuilder builder;
  std::string message;
  try {
    if (nlohmann::json::sax_parse(text, &builder)) return builder.Take();
    message = builder.message();
  } catch (const nlohmann::json::exception& e) {
    message = e.what();
  } catch (const Error& e) {
    message = e.message;
  }
  return base::InvalidInput({.file = what,
                             .field = "",
                             .value = std::string(text.substr(0, 60)),
                             .expected = "valid JSON (" + message + ")",
                             .hint = ""});
}

}  // namespace inhouse::engine::jinja
