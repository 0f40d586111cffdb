// A look at the brackets of a JSON text, before a parser allocates for it.
#pragma once

#include <cstddef>
#include <string_view>

namespace inhouse::engine {

struct JsonShape {
  size_t depth = 0;
  size_t members = 0;  // of the largest object
  size_t values = 0;   // roughly
};
JsonShape ShapeOf(std::string_view json);

}  // namespace inhouse::engine
