// Typed chat messages, and the two ways between them and prompt text: a checkpoint's Jinja template
// or a native DeepSeek encoding; and back: raw completions into reasoning, content and tool calls.
// No OpenAI JSON types here.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/sampling/grammar/grammar_spec.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

struct ToolCall {
  std::string id = {};
  std::string name = {};
  std::string arguments = {};  // JSON text
};

struct ChatMessage {
  std::string role = {};  // system, developer, user, assistant, tool
  std::optional<std::string> content = {};
  std::optional<std::string> reasoning = {};
  std::vector<ToolCall> tool_calls = {};
  std::string tool_call_id = {};
  std::string name = {};
  bool prefix = false;  // continue this assistant message instead of starting a new one
};

struct ChatOptions {
  bool add_generation_prompt = true;
  // OpenAI tool objects in order; null = none.
  nlohmann::ordered_json tools = nullptr;
  // Further template variables (enable_thinking, thinking, reasoning_effort, ...); an object.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  // Given to templates as bos_token and eos_token.
  std::string bos_token = {};
  std::string eos_token = {};
};

// What a raw completion says.
struct ParsedCompletion {
  std::optional<std::string> reasoning = {};
  std::string content = {};
  std::vector<ToolCall> tool_calls = {};
  bool complete = false;  // the end token was there, and the reasoning (if any) has ended
};

// A piece of a call that is still being written: first its name, then its arguments bit by bit.
struct ToolCallPiece {
  bool begins = false;  // a call begins, and this is its name
  std::string name = {};
  std::string arguments = {};
};

// A piece of a streamed completion, already sorted into its channel.
struct CompletionDelta {
  std::string reasoning = {};
  std::string content = {};
  std::vector<ToolCall> tool_calls = {};        // whole calls, in order
  std::vector<ToolCallPiece> call_pieces = {};  // of forced calls, instead of whole ones
};

// Sorts a stream of text into reasoning, content and tool calls. Holds back what may still become a
// marker. One per completion; not thread-safe. Joined, the deltas equal Parse() of the whole text.
class CompletionStream {
 public:
  virtual ~CompletionStream() = default;
  virtual CompletionDelta Push(std::string_view text) = 0;
  virtual CompletionDelta Finish() = 0;  // the end of the text
};

// How one model speaks. Immutable; any thread may call any method.
class ChatFormat {
 public:
  virtual ~ChatFormat() = default;

  // The prompt text, special tokens spelled out (tokenise with add_special_tokens = false).
  // InvalidArgument with the template's own message if it refuses the conversation;
  // ResourceExhausted if it does not end.
  virtual absl::StatusOr<std::string> Render(const std::vector<ChatMessage>& messages,
                                             const ChatOptions& options) const = 0;

  // The same for a conversation that is one JSON object, {"messages": [...], "tools": [...], any
  // template variable}: given to the template as it is, nothing adapted to it. Of `defaults` only
  // bos_token and eos_token count, where the object has none.
  virtual absl::StatusOr<std::string> RenderJson(std::string_view json,
                                                 const ChatOptions& defaults = {}) const = 0;

  // `prompt_ends_in_think`: the prompt ended in an open <think>, so the text starts with reasoning.
  virtual ParsedCompletion Parse(std::string_view text, bool prompt_ends_in_think) const = 0;
  virtual std::unique_ptr<CompletionStream> NewStream(bool prompt_ends_in_think) const = 0;

  // Answers that consist of one to `calls_max` calls (< 0: some) of these tools, in the model's own
  // syntax. Unimplemented where that syntax cannot be forced.
  virtual absl::StatusOr<GrammarSpec> CallGrammar(const nlohmann::ordered_json& tools,
                                                  int64_t calls_max) const;
  // For completions that follow that grammar: nothing has to be held back until a call proves to
  // be one.
  virtual std::unique_ptr<CompletionStream> NewForcedStream(bool prompt_ends_in_think) const {
    return NewStream(prompt_ends_in_think);
  }
  // The format for conversations with tools: another one where this one knows none.
  virtual const ChatFormat& WithTools() const { return *this; }

  virtual std::string_view name() const = 0;  // "deepseek-v3.1", "jinja+qwen3", ...
};

// A Jinja template; the completion parser is chosen by the markers that the template uses (qwen3,
// deepseek-r1, deepseek-v3.1, ..., or plain text with optional <think>).
absl::StatusOr<std::unique_ptr<ChatFormat>> CreateJinjaFormat(const std::string& template_source,
                                                              const std::string& path);

// Renders a template once with the members of a JSON object as its variables, as RenderJson does. A
// member "template" is left out.
absl::StatusOr<std::string> RenderTemplateJson(const std::string& template_source,
                                               const std::string& path, std::string_view json);

// A native encoding by name ("deepseek-v3", "deepseek-r1", "qwen3", ...); NotFound lists the known
// names.
absl::StatusOr<std::unique_ptr<ChatFormat>> CreateNativeFormat(std::string_view name);
std::vector<std::string> NativeFormatNames();

// Whether a rendered prompt ends in an open <think> (white space after it allowed).
bool PromptEndsInThink(std::string_view prompt);
// Whether it ends in </think>: the answer follows without reasoning.
bool PromptEndsThink(std::string_view prompt);

}  // namespace inhouse::engine
