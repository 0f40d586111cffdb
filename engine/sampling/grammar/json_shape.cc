#include "engine/sampling/grammar/json_shape.h"

#include <algorithm>
#include <vector>

namespace inhouse::engine {

JsonShape ShapeOf(std::string_view json) {
  JsonShape shape;
  struct Level {
    bool object;
    size_t members;
  };
  std::vector<Level> levels;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '"') {
      for (++i; i < json.size() && json[i] != '"'; ++i) {
        if (json[i] == '\\') ++i;
      }
    } else if (c == '{' || c == '[') {
      levels.push_back({c == '{', 1});
      ++shape.values;
      shape.depth = std::max(shape.depth, levels.size());
    } else if (c == '}' || c == ']') {
      if (!levels.empty()) levels.pop_back();
    } else if (c == ',') {
      ++shape.values;
      if (levels.empty() || !levels.back().object) continue;
      shape.members = std::max(shape.members, ++levels.back().members);
    }
  }
  return shape;
}

}  // namespace inhouse::engine
