// The flags that say how a model speaks, for the verbs render and parse.
#pragma once

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "engine/prompt/chat.h"

namespace inhouse::apps {

struct FormatFlags {
  std::string model;
  std::string template_file;
  std::string format;

  // --model, --template, --format; at most one of them.
  void Add(CLI::App& app);
};

struct ChosenFormat {
  std::unique_ptr<engine::ChatFormat> format;  // null if no flag was given
  engine::ChatOptions defaults;                // the model's bos_token and eos_token
};

absl::StatusOr<ChosenFormat> ChooseFormat(const FormatFlags& flags);

// Calls `answer` with each line of standard input that is not blank and prints what it returns, a
// line each. Returns the exit code.
int AnswerLines(const std::function<std::string(const std::string&)>& answer);

}  // namespace inhouse::apps
