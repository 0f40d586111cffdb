// A value as a template sees it: Python's data model as far as templates can tell the difference.
// Values are cheap to copy; strings, lists, tuples and dicts are immutable after construction (the
// sandbox refuses every method that would change them), so that they may be shared between threads.
// Only namespaces, loops, iterators, cyclers and joiners change, and they belong to one render.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/prompt/jinja/error.h"

namespace inhouse::engine::jinja {

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,     // fits 64 bits
  kBigInt,  // does not
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kDictView,
  kRange,
  kIterator,  // a generator: its items are consumed once
  kNamespace,
  kLoop,
  kMacro,
  kFunction,  // a global function or a bound method
  kCycler,
  kJoiner,
};

// Depth of nesting that values may have. Bounds every recursion over data, the destructors
// included.
inline constexpr int kMaxValueDepth = 400;

// Base of everything that lives on the heap.
class Object {
 public:
  virtual ~Object() = default;
  // Height of what the object holds. Namespaces and macros, which may form cycles, count as 0: the
  // interpreter keeps them and takes them apart one by one.
  int depth = 0;
};

struct StringObject;
struct SequenceObject;
struct DictObject;

class Value {
 public:
  Value() = default;  // a plain undefined
  static Value None() { return Value(Kind::kNone, 0); }
  static Value Bool(bool b) { return Value(Kind::kBool, b ? 1 : 0); }
  static Value Int(int64_t i) { return Value(Kind::kInt, i); }
  static Value Float(double f) {
    Value v(Kind::kFloat, 0);
    v.float_ = f;
    return v;
  }
  static Value String(std::string text, bool markup = false);
  static Value List(std::vector<Value> items);
  static Value Tuple(std::vector<Value> items);
  static Value Dict(std::shared_ptr<const DictObject> dict);
  // Undefined with the message of the error that using it gives.
  static Value Undefined(std::string message, bool security = false);
  static Value Of(Kind kind, std::shared_ptr<const Object> object) {
    Value v(kind, 0);
    v.object_ = std::move(object);
    return v;
  }

  Kind kind() const { return kind_; }
  bool Is(Kind kind) const { return kind_ == kind; }
  bool IsUndefined() const { return kind_ == Kind::kUndefined; }
  bool IsNone() const { return kind_ == Kind::kNone; }
  bool IsString() const { return kind_ == Kind::kString; }
  bool IsInteger() const { return kind_ == Kind::kInt || kind_ == Kind::kBigInt; }  // no bool
  bool IsNumber() const { return kind_ >= Kind::kBool && kind_ <= Kind::kFloat; }
  bool IsSequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }

  bool AsBool() const { return int_ != 0; }
  int64_t AsInt() const { return int_; }  // kInt, kBool
  double AsFloat() const { return float_; }
  const StringObject& AsString() const;
  const std::string& Text() const;  // of a string
  bool IsMarkup() const;
  const SequenceObject& AsSequence() const;  // kList, kTuple
  const std::vector<Value>& Items() const;
  const DictObject& AsDict() const;
  const std::shared_ptr<const Object>& object() const { return object_; }
  // The object as T. Objects that change are created non-const, which makes this cast sound.
  template <typename T>
  T& As() const {
    return *static_cast<T*>(const_cast<Object*>(object_.get()));
  }

 private:
  Value(Kind kind, int64_t i) : kind_(kind), int_(i) {}

  Kind kind_ = Kind::kUndefined;
  union {
    int64_t int_ = 0;
    double float_;
  };
  std::shared_ptr<const Object> object_;
};

struct StringObject : Object {
  std::string text;
  int64_t length;  // code points
  bool markup;     // HTML that is marked as safe
  bool ascii() const { return length == static_cast<int64_t>(text.size()); }
};

struct SequenceObject : Object {
  std::vector<Value> items;
  bool group = false;  // a group of `groupby`: a tuple with .grouper and .list
};

struct DictObject : Object {
  std::vector<std::pair<Value, Value>> entries;  // in order of insertion

  const Value* Find(const Value& key) const;  // TypeError if the key is unhashable
  const Value* Find(std::string_view key) const;
  void Set(const Value& key, Value value);

 private:
  std::unordered_multimap<uint64_t, uint32_t> index_;  // only of dicts with more than a few entries
};

struct UndefinedObject : Object {
  std::string message;
  bool security = false;
};

enum class DictPart { kKeys, kValues, kItems };

struct DictViewObject : Object {
  Value dict;
  DictPart part = DictPart::kKeys;
};

struct RangeObject : Object {
  int64_t start = 0, stop = 0, step = 1;
  int64_t size() const;
  int64_t At(int64_t i) const { return start + i * step; }
};

struct IteratorObject : Object {
  std::vector<Value> items;
  size_t next = 0;
  std::unique_ptr<Error> failure;  // raised where the items end
  const char* type = "generator";
};

struct NamespaceObject : Object {
  std::vector<std::pair<std::string, Value>> attributes;
  Value* Find(std::string_view name);
  void Set(const std::string& name, Value value);
};

struct CyclerObject : Object {
  std::vector<Value> items;
  size_t position = 0;
};

struct JoinerObject : Object {
  Value separator;
  bool used = false;
};

std::string_view TypeName(const Value& value);  // as Python names it
bool Truth(const Value& value);
inline int DepthOf(const Value& value) {
  return value.object() == nullptr ? 0 : value.object()->depth;
}
int DepthOf(const std::vector<Value>& values);
// 1 + `children`; a limit error if that is too deep.
int DepthAround(int children);

// ==. Never fails.
bool Equal(const Value& a, const Value& b);
// <0, 0, >0; TypeError for what Python does not order. `op` is named in the message.
int Compare(const Value& a, const Value& b, std::string_view op);
uint64_t Hash(const Value& value);  // TypeError if unhashable
// The same object, Python's `is`.
bool Same(const Value& a, const Value& b);

[[noreturn]] void FailUndefined(const Value& undefined);
// Raises if the value is undefined.
inline void RequireDefined(const Value& value) {
  if (value.IsUndefined()) FailUndefined(value);
}

}  // namespace inhouse::engine::jinja
