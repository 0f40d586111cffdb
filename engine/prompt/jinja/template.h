// The door of the Jinja engine: a compiled template. It renders what transformers'
// ImmutableSandboxedEnvironment(trim_blocks, lstrip_blocks) with loop controls, {% generation %},
// raise_exception, tojson and strftime_now renders. Immutable; any thread may call Render.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/prompt/jinja/ast.h"
#include "engine/prompt/jinja/runtime.h"
#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

class Template {
 public:
  // `path` names the template in messages. InvalidArgument with the line of a syntax error.
  static absl::StatusOr<std::unique_ptr<Template>> Compile(const std::string& source,
                                                           const std::string& path);

  // InvalidArgument with the template's line and message where it raises; ResourceExhausted where
  // it passes a limit.
  absl::StatusOr<std::string> Render(const DictObject& variables, const Limits& limits = {}) const;

 private:
  Template(Tree tree, std::string path) : tree_(std::move(tree)), path_(std::move(path)) {}

  const Tree tree_;
  const std::string path_;
};

}  // namespace inhouse::engine::jinja
