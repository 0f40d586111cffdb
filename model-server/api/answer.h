// Typed answers -> JSON text, whole or chunk by chunk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/prompt/chat.h"
#include "model-server/api/json_writer.h"

namespace inhouse::model_server {

// The same on every chunk of one answer.
struct AnswerHead {
  std::string id = {};  // "chatcmpl-..." or "cmpl-..."
  int64_t created = 0;  // seconds since the epoch
  std::string model = {};
  std::string fingerprint = {};
};

struct AnswerUsage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t reasoning_tokens = 0;
};

// One token with its alternatives; tokens are bytes, which need not be whole characters.
struct TokenScore {
  std::string token = {};
  bool in_text = true;  // false: a special token that the text leaves out
  float logprob = 0;    // NaN: none (the first token of a prompt)
  std::vector<std::pair<std::string, float>> top = {};
};

struct ChatChoice {
  int64_t index = 0;
  std::optional<std::string> reasoning = {};
  std::string content = {};
  std::vector<engine::ToolCall> tool_calls = {};
  std::string finish_reason = {};
  std::string stop_string = {};  // with "stop": which stop string, if it was one
  std::optional<std::vector<TokenScore>> logprobs = {};
  std::string prompt_logprobs = {};  // JSON text, "" = not asked for
};

std::string ChatAnswer(const AnswerHead& head, const std::vector<ChatChoice>& choices,
                       const AnswerUsage& usage);

// What is new in one choice; empty members are left out.
struct ChatPiece {
  int64_t index = 0;
  bool first = false;  // carries the role
  std::string_view reasoning = {};
  std::string_view content = {};
  const std::vector<engine::ToolCall>* tool_calls = nullptr;
  int64_t first_tool_index = 0;
  // More arguments of the call at first_tool_index, which was announced before.
  std::string_view arguments = {};
  std::string_view finish_reason = {};  // "" = not yet
  std::string_view stop_string = {};    // with it, as in ChatChoice
  const std::vector<TokenScore>* logprobs = nullptr;
};

struct TextChoice {
  int64_t index = 0;
  std::string text = {};
  std::string finish_reason = {};  // "" = not yet (streamed)
  std::optional<std::vector<TokenScore>> logprobs = {};
  std::string prompt_logprobs = {};  // JSON text, "" = not asked for
  int64_t text_offset = 0;           // of the first token, in characters of the choice's whole text
};

std::string TextAnswer(const AnswerHead& head, const std::vector<TextChoice>& choices,
                       const AnswerUsage& usage);

// Server-sent events: "data: {...}\n\n". `with_usage`: the client asked for a last chunk with the
// usage, so all others say "usage":null.
std::string ChatChunk(const AnswerHead& head, const ChatPiece& piece, bool with_usage);
std::string TextChunk(const AnswerHead& head, const TextChoice& choice, bool with_usage);
std::string UsageChunk(const AnswerHead& head, std::string_view object, const AnswerUsage& usage);
std::string SseEvent(std::string_view data);

// The tokens with their alternatives, as chat answers list them.
void WriteTokenScores(const std::vector<TokenScore>& scores, JsonWriter* json);

// Code points of valid UTF-8; what text_offset counts.
int64_t CharacterCount(std::string_view text);

inline constexpr std::string_view kChatChunkObject = "chat.completion.chunk";
inline constexpr std::string_view kTextObject = "text_completion";

}  // namespace inhouse::model_server
