#include "engine/prompt/jinja/template.h"

#include <exception>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/prompt/jinja/interpreter.h"
#include "engine/prompt/jinja/parser.h"

namespace inhouse::engine::jinja {
namespace {

constexpr size_t kMaxSource = 4u << 20;

absl::Status ToStatus(const Error& error, const std::string& path, int line) {
  const bool limit = error.kind == Error::Kind::kLimit;
  const int at = error.line > 0 ? error.line : line;
  const std::string place = path + ":" + std::to_string(at);
  return base::InputError(
      limit ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInvalidArgument,
      {.file = place, .field = error.message});
}

// What libraries throw: no memory, above all.
absl::Status Unexpected(const std::exception& error, const std::string& path) {
  return base::InputError(absl::StatusCode::kResourceExhausted,
                          {.file = path, .field = error.what()});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Template>> Template::Compile(const std::string& source,
                                                            const std::string& path) {
  if (source.size() > kMaxSource) {
    return base::InputError(absl::StatusCode::kResourceExhausted,
                            {.file = path,
                             .field = "template",
                             .value = std::to_string(source.size()) + " bytes",
                             .expected = "at most " + std::to_string(kMaxSource) + " bytes"});
  }
  if (!base::IsValidUtf8(source)) {
    return base::InvalidInput({.file = path, .field = "template", .expected = "valid UTF-8"});
  }
  try {
    return std::unique_ptr<Template>(new Template(Parse(source), path));
  } catch (const Error& error) {
    return ToStatus(error, path, 1);
  } catch (const std::exception& error) {
    return Unexpected(error, path);
  }
}

absl::StatusOr<std::string> Template::Render(const DictObject& variables,
                                             const Limits& limits) const {
  Interpreter interpreter(tree_, variables, limits);
  try {
    std::string out = interpreter.Render();
    if (!base::IsValidUtf8(out)) {
      return base::InvalidInput({.file = path_,
                                 .field = "output",
                                 .expected = "valid UTF-8 (the template makes lone surrogates)"});
    }
    return out;
  } catch (const Error& error) {
    return ToStatus(error, path_, interpreter.line());
  } catch (const std::exception& error) {
    return Unexpected(error, path_);
  }
}

}  // namespace inhouse::engine::jinja
