// The `loop` variable: pulls items one by one, so that a condition of the loop sees what the body
// has set before, and looks ahead only where the template asks for it.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "engine/prompt/jinja/ast.h"
#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

struct Scope;

struct LoopObject : Object {
  std::vector<Value> items;  // of the iterable
  size_t next = 0;
  // The condition of the loop, if it has one; valid while the loop runs.
  std::function<bool(const Value&)> accepts;
  // Raised where the items end.
  std::unique_ptr<Error> failure;

  std::optional<Value> after;  // the item ahead, if it was asked for
  std::optional<int64_t> length;
  Value before, current;
  int64_t index0 = -1;
  int depth0 = 0;
  const Node* recursive = nullptr;  // the loop, if it may be called,
  std::shared_ptr<Scope> scope;     // and the frame that it stands in
  std::optional<Value> changed;     // arguments of the last loop.changed()
};

}  // namespace inhouse::engine::jinja
