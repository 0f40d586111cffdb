// What running templates share: the limits of one render and the operations of Python's data model.
// One per render; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/prompt/jinja/number.h"
#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

struct Limits {
  int64_t steps_max = 10'000'000;       // evaluated nodes, items and 32 bytes of made text each
  size_t output_bytes_max = 16u << 20;  // also the longest single text
  int frames_max = 4000;                // nested evaluations: bounds the use of the stack
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

class Runtime {
 public:
  explicit Runtime(const Limits& limits) : limits_(limits) {}
  virtual ~Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Accounts for work; raises when the render has done too much.
  void Charge(int64_t steps) {
    if ((steps_ += steps) > limits_.steps_max) FailSteps();
  }
  // Accounts for a text of `bytes` that is about to be made.
  void ChargeText(size_t bytes);
  // Raises if a text is too long; for texts that grow piece by piece.
  void CheckText(size_t bytes) const;
  Value NewText(std::string text, bool markup = false) {
    ChargeText(text.size());
    return Value::String(std::move(text), markup);
  }

  virtual Value Call(const Value& callee, Arguments args) = 0;
  Value CallFilter(const std::string& name, const Value& value, Arguments args);
  bool CallTest(const std::string& name, const Value& value, Arguments args);

  // list(value); TypeError if it cannot be iterated.
  std::vector<Value> Iterate(const Value& value);
  int64_t Length(const Value& value);  // len(value)
  bool Contains(const Value& container, const Value& item);
  // obj[key] and obj.name as Jinja's environment has them: what is not there is undefined.
  Value GetItem(const Value& object, const Value& key);
  Value GetAttr(const Value& object, const std::string& name);
  // getattr(obj, name) of Python behind the sandbox; nothing if there is no such attribute.
  virtual std::optional<Value> Attribute(const Value& object, std::string_view name);
  // "a.b.0" as the filters' `attribute` has it.
  Value GetPath(const Value& object, const Value& path);
  Value Slice(const Value& object, const Value& start, const Value& stop, const Value& step);
  Value Binary(Arithmetic op, const Value& a, const Value& b);
  Value Iterator(std::vector<Value> items, const char* type = "generator");
  Value Undefined(const Value& object, const Value& key);

  bool autoescape = false;

 protected:
  [[noreturn]] void FailSteps();

  const Limits limits_;
  int64_t steps_ = 0;

 private:
  // obj[key] without the fallback to attributes; nothing for TypeError and LookupError.
  std::optional<Value> Subscript(const Value& object, const Value& key);
  Value Multiply(const Value& sequence, const Value& times);
  Value Add(const Value& a, const Value& b);
};

// An integer as an index; nothing if the value is no integer.
std::optional<int64_t> AsIndex(const Value& value);

}  // namespace inhouse::engine::jinja
