#include "engine/prompt/jinja/arguments.h"

#include <algorithm>

namespace inhouse::engine::jinja {

Bound::Bound(const char* function, const Arguments& args, std::initializer_list<const char*> names,
             size_t required, size_t names_from)
    : function_(function), values_(names.size()), given_(names.size(), false) {
  const auto fail = [function](const std::string& what) {
    TypeError(std::string(function) + "() " + what);
  };
  if (args.positional.size() > names.size()) {
    fail("takes at most " + std::to_string(names.size()) + " arguments (" +
         std::to_string(args.positional.size()) + " given)");
  }
  for (size_t i = 0; i < args.positional.size(); ++i) {
    values_[i] = args.positional[i];
    given_[i] = true;
  }
  for (const auto& [name, value] : args.keywords) {
    const auto* found =
        std::find_if(names.begin(), names.end(), [&](const char* n) { return name == n; });
    const size_t i = static_cast<size_t>(found - names.begin());
    if (found == names.end() || i < names_from) {
      fail("got an unexpected keyword argument '" + name + "'");
    }
    if (given_[i]) fail("got multiple values for argument '" + name + "'");
    values_[i] = value;
    given_[i] = true;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!given_[i]) fail("misses the argument '" + std::string(names.begin()[i]) + "'");
  }
}

int64_t Bound::Int(size_t i, int64_t otherwise) const {
  return given_[i] ? RequireInt(values_[i], function_) : otherwise;
}

const std::string& Bound::Text(size_t i) const { return RequireText(values_[i], function_); }

const std::string& RequireText(const Value& value, const char* what) {
  RequireDefined(value);
  if (!value.IsString()) {
    TypeError(std::string(what) + ": expected str, got " + std::string(TypeName(value)));
  }
  return value.Text();
}

int64_t RequireInt(const Value& value, const char* what) {
  RequireDefined(value);
  const auto index = AsIndex(value);
  if (!index) {
    TypeError(std::string(what) + ": '" + std::string(TypeName(value)) +
              "' object cannot be interpreted as an integer");
  }
  return *index;
}

}  // namespace inhouse::engine::jinja
