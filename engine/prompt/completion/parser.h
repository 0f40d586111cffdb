// Completions of one family of models: where they end, how they reason, how they write calls.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/prompt/chat.h"
#include "engine/prompt/completion/splitter.h"

namespace inhouse::engine {

enum class CallStyle {
  kNone,
  kFenced,
  kBare,
  kDsmlFunctionCalls,
  kDsmlToolCalls,
  kDsmlCalls,
  kQwen
};

struct CompletionStyle {
  std::vector<std::string> end_tokens = {};
  bool opens_think = true;     // a text that starts with <think> reasons
  bool strip_newlines = true;  // around the reasoning and before the content
  CallStyle calls = CallStyle::kNone;
};

// The style of a format by name ("deepseek-v3.1", "qwen3", "plain", ...); null if there is none.
const CompletionStyle* FindCompletionStyle(std::string_view name);
// The name of the style that fits what a template writes.
std::string_view StyleOfTemplate(std::string_view source);

ParsedCompletion ParseCompletion(const CompletionStyle& style, std::string_view text,
                                 bool prompt_ends_in_think);
// The style's calls can be forced (call_syntax.h), and were.
std::unique_ptr<CompletionStream> NewForcedCompletionStream(const CompletionStyle& style,
                                                            bool prompt_ends_in_think);
std::unique_ptr<CompletionStream> NewCompletionStream(const CompletionStyle& style,
                                                      bool prompt_ends_in_think);

}  // namespace inhouse::engine
