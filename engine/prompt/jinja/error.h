// What goes wrong in a template. Inside engine/prompt/jinja a template's error is a C++ exception,
// because the language itself has exceptions whose kind matters (the filter `int` catches a
// TypeError, `in` does not); Template::Compile and Template::Render turn it into a Status.
#pragma once

#include <string>
#include <utility>

namespace inhouse::engine::jinja {

struct Error {
  enum class Kind {
    kSyntax,      // TemplateSyntaxError
    kRaised,      // raise_exception()
    kUndefined,   // UndefinedError
    kSecurity,    // SecurityError
    kType,        // TypeError
    kValue,       // ValueError, LookupError
    kArithmetic,  // OverflowError, ZeroDivisionError
    kRuntime,     // TemplateRuntimeError and the rest
    kLimit,       // ours: steps, output, nesting, sizes
  };
  Kind kind;
  std::string message;
  int line = 0;  // 0 = not known yet
};

[[noreturn]] inline void Fail(Error::Kind kind, std::string message, int line = 0) {
  throw Error{kind, std::move(message), line};
}
[[noreturn]] inline void TypeError(std::string message) {
  Fail(Error::Kind::kType, "TypeError: " + std::move(message));
}
[[noreturn]] inline void ValueError(std::string message) {
  Fail(Error::Kind::kValue, "ValueError: " + std::move(message));
}
[[noreturn]] inline void LimitError(std::string message) {
  Fail(Error::Kind::kLimit, std::move(message));
}

}  // namespace inhouse::engine::jinja
