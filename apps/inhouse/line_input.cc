#include "apps/inhouse/line_input.h"

#include <editline/readline.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace inhouse::apps {

LineInput::LineInput() : terminal_(isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0) {
  if (!terminal_) return;
  std::setlocale(LC_CTYPE, "");  // libedit counts columns of Chinese text by the locale
  using_history();
}

std::optional<std::string> LineInput::ReadOne(const std::string& prompt) {
  if (!terminal_) {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  char* raw = readline(prompt.c_str());
  if (raw == nullptr) return std::nullopt;
  std::string line(raw);
  std::free(raw);
  if (!line.empty()) add_history(line.c_str());
  return line;
}

std::optional<std::string> LineInput::Read(const std::string& prompt) {
  std::optional<std::string> text = ReadOne(prompt);
  while (text && !text->empty() && text->back() == '\\') {
    text->back() = '\n';
    const std::optional<std::string> next = ReadOne("... ");
    if (!next) break;
    *text += *next;
  }
  return text;
}

}  // namespace inhouse::apps
