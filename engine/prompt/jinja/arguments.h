// Binds the arguments of a call to the names of a function's parameters, as Python does.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "engine/prompt/jinja/runtime.h"
#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

class Bound {
 public:
  // TypeError for too many, unknown, doubled or (of the first `required`) missing arguments.
  // `names_from`: parameters before it cannot be given by name.
  Bound(const char* function, const Arguments& args, std::initializer_list<const char*> names,
        size_t required = 0, size_t names_from = 0);

  bool Has(size_t i) const { return given_[i]; }
  bool HasValue(size_t i) const { return given_[i] && !values_[i].IsNone(); }
  const Value& operator[](size_t i) const { return values_[i]; }
  Value Or(size_t i, Value otherwise) const { return given_[i] ? values_[i] : otherwise; }
  int64_t Int(size_t i, int64_t otherwise) const;
  bool Bool(size_t i, bool otherwise) const { return given_[i] ? Truth(values_[i]) : otherwise; }
  const std::string& Text(size_t i) const;  // must be a str

 private:
  const char* function_;
  std::vector<Value> values_;
  std::vector<bool> given_;
};

// The text of a value that must be a str.
const std::string& RequireText(const Value& value, const char* what);
int64_t RequireInt(const Value& value, const char* what);

}  // namespace inhouse::engine::jinja
