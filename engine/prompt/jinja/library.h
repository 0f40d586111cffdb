// What templates can call: filters, tests, methods, global functions. Explicit tables, one for each
// kind, each in its own file.
#pragma once

#include <optional>
#include <string_view>

#include "engine/prompt/jinja/arguments.h"
#include "engine/prompt/jinja/runtime.h"
#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

// `self` is the filtered or tested value, or the object of a method.
using Function = Value (*)(Runtime& runtime, const Value& self, Arguments& args);

struct Named {
  std::string_view name;
  Function function;
};

struct FunctionObject : Object {
  std::string_view name;
  Function function = nullptr;
  Value self;
};

Function FindFilter(std::string_view name);
Function FindTest(std::string_view name);
// range, dict, namespace, raise_exception, ...; nothing if there is no such global.
std::optional<Value> FindGlobal(std::string_view name);
// The method as a bound function.
std::optional<Value> FindMethod(const Value& object, std::string_view name);

// The parts of the tables.
Function FindTextFilter(std::string_view name);
Function FindSequenceFilter(std::string_view name);
Function FindNumberFilter(std::string_view name);
Function FindStringMethod(std::string_view name);

template <size_t N>
Function FindIn(const Named (&table)[N], std::string_view name) {
  for (const Named& entry : table) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

// str % args.
std::string FormatPercent(Runtime& runtime, const Value& format, const Value& args);
// str.format(*args, **kwargs).
std::string FormatBraces(Runtime& runtime, const std::string& format, const Arguments& args);
// format(value, spec).
std::string FormatSpec(const Value& value, std::string_view spec);
// datetime.now().strftime(format).
std::string FormatNow(const std::string& format);

}  // namespace inhouse::engine::jinja
