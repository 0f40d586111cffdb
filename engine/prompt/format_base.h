// What all formats share: typed messages and JSON become variables, a prefix is continued, and the
// style of completions says how to parse.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/prompt/chat.h"
#include "engine/prompt/completion/parser.h"
#include "engine/prompt/variables.h"

namespace inhouse::engine {

class FormatBase : public ChatFormat {
 public:
  absl::StatusOr<std::string> Render(const std::vector<ChatMessage>& messages,
                                     const ChatOptions& options) const final;
  absl::StatusOr<std::string> RenderJson(std::string_view json,
                                         const ChatOptions& defaults) const final;
  ParsedCompletion Parse(std::string_view text, bool prompt_ends_in_think) const final;
  std::unique_ptr<CompletionStream> NewStream(bool prompt_ends_in_think) const final;
  absl::StatusOr<GrammarSpec> CallGrammar(const nlohmann::ordered_json& tools,
                                          int64_t calls_max) const final;
  std::unique_ptr<CompletionStream> NewForcedStream(bool prompt_ends_in_think) const final;
  const ChatFormat& WithTools() const final {
    if (with_tools_) return *with_tools_;
    return *this;
  }
  std::string_view name() const final { return name_; }

 protected:
  FormatBase(std::string name, const CompletionStyle& completions)
      : name_(std::move(name)), completions_(completions) {}

  virtual absl::StatusOr<std::string> RenderVariables(const jinja::DictObject& variables) const = 0;

  // Where the style has no calls: tools are written as text. Called while the format is created.
  void AddToolPrompt(bool knows_tools);

  MessageStyle style_;  // set while the format is created

 private:
  const std::string name_;
  const CompletionStyle& completions_;  // of the table, lives for ever
  std::unique_ptr<ChatFormat> with_tools_;
};

}  // namespace inhouse::engine
