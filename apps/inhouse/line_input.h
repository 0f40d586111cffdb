// Lines from the user: with editing and history on a terminal, plain otherwise.
#pragma once

#include <optional>
#include <string>

namespace inhouse::apps {

class LineInput {
 public:
  LineInput();
  // The next line without its newline; a line that ends in a backslash is joined with the next.
  // None at the end of the input or after Ctrl-C.
  std::optional<std::string> Read(const std::string& prompt);

 private:
  std::optional<std::string> ReadOne(const std::string& prompt);
  bool terminal_;
};

}  // namespace inhouse::apps
