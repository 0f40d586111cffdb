// A conversation as the native encoders read it. Errors are jinja::Error, which the format turns
// into a Status.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/prompt/jinja/value.h"

namespace inhouse::engine {

struct NativeCall {
  std::string id = {};
  std::string name = {};
  std::string arguments = {};         // as text: what was sent, or an object as JSON
  jinja::Value arguments_value = {};  // as sent
};

struct NativeMessage {
  std::string role = {};
  std::string content = {};
  bool has_content = false;  // there, and not null
  std::string reasoning = {};
  std::vector<NativeCall> calls = {};
  std::string tool_call_id = {};
  bool prefix = false;
  bool without_eos = false;  // wo_eos
  std::string task = {};
  std::vector<jinja::Value> tools = {};  // the "function" objects
  std::optional<jinja::Value> response_format = {};
};

struct Conversation {
  std::vector<NativeMessage> messages = {};
  bool add_generation_prompt = false;
  bool thinking = false;
  bool thinking_given = false;  // thinking or enable_thinking was there
  bool drop_thinking = true;
  std::optional<jinja::Value> reasoning_effort = {};
};

// Reads the variables. Tools of the conversation hang on the first message if that is a system
// message, else on an empty system message put before it.
Conversation ReadConversation(const jinja::DictObject& variables);

// One encoder for each family.
std::string EncodePlain(const Conversation& conversation);  // llm, v2
std::string EncodeCoder(const Conversation& conversation);
struct V3Style {
  bool last_system_only = false;   // R1-Distill
  bool thinks = false;             // R1: the prompt opens <think>, old reasoning goes
  bool newline_in_results = true;  // between tool results
};
std::string EncodeV3(const Conversation& conversation, const V3Style& style);
std::string EncodeV31(const Conversation& conversation, bool terminus);
std::string EncodeQwen3(const Conversation& conversation);

}  // namespace inhouse::engine
