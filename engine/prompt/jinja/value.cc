#include "engine/prompt/jinja/value.h"

#include <algorithm>
#include <functional>

#include "engine/prompt/jinja/number.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

// Dicts up to this size are searched from front to back.
constexpr size_t kSmallDict = 8;

Value MakeSequence(Kind kind, std::vector<Value> items) {
  auto object = std::make_shared<SequenceObject>();
  object->depth = DepthAround(DepthOf(items));
  object->items = std::move(items);
  return Value::Of(kind, std::move(object));
}

bool EqualSequences(const Value& a, const Value& b) {
  const auto& x = a.Items();
  const auto& y = b.Items();
  if (x.size() != y.size()) return false;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!Same(x[i], y[i]) && !Equal(x[i], y[i])) return false;
  }
  return true;
}

bool EqualDicts(const DictObject& a, const DictObject& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.Find(key);
    if (other == nullptr || !(Same(value, *other) || Equal(value, *other))) return false;
  }
  return true;
}

bool EqualRanges(const RangeObject& a, const RangeObject& b) {
  if (a.size() != b.size()) return false;
  if (a.size() == 0) return true;
  return a.start == b.start && (a.size() == 1 || a.step == b.step);
}

}  // namespace

Value Value::String(std::string text, bool markup) {
  auto object = std::make_shared<StringObject>();
  object->length = CountChars(text);
  object->text = std::move(text);
  object->markup = markup;
  return Of(Kind::kString, std::move(object));
}

Value Value::List(std::vector<Value> items) { return MakeSequence(Kind::kList, std::move(items)); }
Value Value::Tuple(std::vector<Value> items) {
  return MakeSequence(Kind::kTuple, std::move(items));
}

Value Value::Dict(std::shared_ptr<const DictObject> dict) {
  return Of(Kind::kDict, std::move(dict));
}

Value Value::Undefined(std::string message, bool security) {
  auto object = std::make_shared<UndefinedObject>();
  object->message = std::move(message);
  object->security = security;
  return Of(Kind::kUndefined, std::move(object));
}

const StringObject& Value::AsString() const { return As<StringObject>(); }
const std::string& Value::Text() const { return As<StringObject>().text; }
bool Value::IsMarkup() const { return IsString() && As<StringObject>().markup; }
const SequenceObject& Value::AsSequence() const { return As<SequenceObject>(); }
const std::vector<Value>& Value::Items() const { return As<SequenceObject>().items; }
const DictObject& Value::AsDict() const { return As<DictObject>(); }

const Value* DictObject::Find(const Value& key) const {
  const uint64_t hash = Hash(key);
  if (entries.size() <= kSmallDict) {
    for (const auto& [k, v] : entries) {
      if (Same(k, key) || Equal(k, key)) return &v;
    }
    return nullptr;
  }
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const auto& [k, v] = entries[it->second];
    if (Same(k, key) || Equal(k, key)) return &v;
  }
  return nullptr;
}

const Value* DictObject::Find(std::string_view key) const {
  if (entries.size() <= kSmallDict) {
    for (const auto& [k, v] : entries) {
      if (k.IsString() && k.Text() == key) return &v;
    }
    return nullptr;
  }
  return Find(Value::String(std::string(key)));
}

void DictObject::Set(const Value& key, Value value) {
  depth = std::max(depth, DepthAround(std::max(DepthOf(key), DepthOf(value))));
  if (const Value* old = Find(key)) {
    *const_cast<Value*>(old) = std::move(value);
    return;
  }
  entries.emplace_back(key, std::move(value));
  if (entries.size() <= kSmallDict) return;
  const size_t first = entries.size() == kSmallDict + 1 ? 0 : entries.size() - 1;
  for (size_t i = first; i < entries.size(); ++i) {
    index_.emplace(Hash(entries[i].first), static_cast<uint32_t>(i));
  }
}

int64_t RangeObject::size() const {
  if (step > 0) return start >= stop ? 0 : (stop - start - 1) / step + 1;
  return start <= stop ? 0 : (start - stop - 1) / -step + 1;
}

Value* NamespaceObject::Find(std::string_view name) {
  for (auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

void NamespaceObject::Set(const std::string& name, Value value) {
  if (Value* old = Find(name)) {
    *old = std::move(value);
  } else {
    attributes.emplace_back(name, std::move(value));
  }
}

std::string_view TypeName(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
    case Kind::kBigInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.IsMarkup() ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kDictView:
      switch (value.As<DictViewObject>().part) {
        case DictPart::kKeys:
          return "dict_keys";
        case DictPart::kValues:
          return "dict_values";
        case DictPart::kItems:
          return "dict_items";
      }
      return "dict_keys";
    case Kind::kRange:
      return "range";
    case Kind::kIterator:
      return value.As<IteratorObject>().type;
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kMacro:
      return "Macro";
    case Kind::kFunction:
      return "function";
    case Kind::kCycler:
      return "Cycler";
    case Kind::kJoiner:
      return "Joiner";
  }
  return "object";
}

bool Truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.AsInt() != 0;
    case Kind::kFloat:
      return value.AsFloat() != 0.0;
    case Kind::kString:
      return !value.Text().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.Items().empty();
    case Kind::kDict:
      return !value.AsDict().entries.empty();
    case Kind::kDictView:
      return !value.As<DictViewObject>().dict.AsDict().entries.empty();
    case Kind::kRange:
      return value.As<RangeObject>().size() != 0;
    case Kind::kBigInt:
    case Kind::kIterator:
    case Kind::kNamespace:
    case Kind::kLoop:
    case Kind::kMacro:
    case Kind::kFunction:
    case Kind::kCycler:
    case Kind::kJoiner:
      return true;
  }
  return true;
}

int DepthOf(const std::vector<Value>& values) {
  int depth = 0;
  for (const Value& value : values) depth = std::max(depth, DepthOf(value));
  return depth;
}

int DepthAround(int children) {
  if (children + 1 > kMaxValueDepth) {
    LimitError("values are nested more than " + std::to_string(kMaxValueDepth) + " levels deep");
  }
  return children + 1;
}

bool Same(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInt:
      return a.AsInt() == b.AsInt();
    case Kind::kFloat:
      return a.AsFloat() == b.AsFloat();
    case Kind::kString:
      return a.Text() == b.Text() && a.IsMarkup() == b.IsMarkup();
    default:
      return a.object() != nullptr && a.object() == b.object();
  }
}

bool Equal(const Value& a, const Value& b) {
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return a.Text() == b.Text();
    case Kind::kList:
    case Kind::kTuple:
      return EqualSequences(a, b);
    case Kind::kDict:
      return EqualDicts(a.AsDict(), b.AsDict());
    case Kind::kRange:
      return EqualRanges(a.As<RangeObject>(), b.As<RangeObject>());
    default:
      return a.object() == b.object();
  }
}

int Compare(const Value& a, const Value& b, std::string_view op) {
  RequireDefined(a);
  RequireDefined(b);
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b);
  if (a.IsString() && b.IsString()) {
    // Byte order of UTF-8 is code point order.
    const int c = a.Text().compare(b.Text());
    return c < 0 ? -1 : c > 0 ? 1 : 0;
  }
  if (a.kind() == b.kind() && a.IsSequence()) {
    const auto& x = a.Items();
    const auto& y = b.Items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!Same(x[i], y[i]) && !Equal(x[i], y[i])) return Compare(x[i], y[i], op);
    }
    return x.size() < y.size() ? -1 : x.size() > y.size() ? 1 : 0;
  }
  TypeError("'" + std::string(op) + "' not supported between instances of '" +
            std::string(TypeName(a)) + "' and '" + std::string(TypeName(b)) + "'");
}

uint64_t Hash(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 11;
    case Kind::kNone:
      return 12;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kBigInt:
    case Kind::kFloat:
      return HashNumber(value);
    case Kind::kString:
      return std::hash<std::string_view>{}(value.Text());
    case Kind::kTuple: {
      uint64_t hash = 0x9E3779B97F4A7C15ULL;
      for (const Value& item : value.Items()) hash = hash * 0x100000001B3ULL ^ Hash(item);
      return hash;
    }
    case Kind::kList:
    case Kind::kDict:
    case Kind::kDictView:
      TypeError("unhashable type: '" + std::string(TypeName(value)) + "'");
    default:
      return std::hash<const void*>{}(value.object().get());
  }
}

void FailUndefined(const Value& undefined) {
  if (!undefined.object()) Fail(Error::Kind::kUndefined, "value is undefined");
  const auto& object = undefined.As<UndefinedObject>();
  Fail(object.security ? Error::Kind::kSecurity : Error::Kind::kUndefined, object.message);
}

}  // namespace inhouse::engine::jinja
