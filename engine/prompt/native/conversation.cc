#include "engine/prompt/native/conversation.h"

#include "engine/prompt/jinja/error.h"
#include "engine/prompt/jinja/json.h"
#include "engine/prompt/jinja/repr.h"

namespace inhouse::engine {
namespace {

using jinja::DictObject;
using jinja::Kind;
using jinja::Value;

[[noreturn]] void Refuse(const std::string& field, const std::string& expected) {
  jinja::ValueError(field + ": expected " + expected);
}

const Value* FindMember(const DictObject& dict, std::string_view name) {
  const Value* found = dict.Find(name);
  return found == nullptr || found->IsNone() ? nullptr : found;
}

std::string TextMember(const DictObject& dict, std::string_view name, const std::string& where) {
  const Value* found = FindMember(dict, name);
  if (found == nullptr) return "";
  if (!found->IsString()) Refuse(where + "." + std::string(name), "a string or null");
  return found->Text();
}

bool BoolMember(const DictObject& dict, std::string_view name, bool otherwise) {
  const Value* found = FindMember(dict, name);
  return found == nullptr ? otherwise : jinja::Truth(*found);
}

// The "function" objects of OpenAI tools; a bare function object is taken too.
std::vector<Value> ReadTools(const Value* tools, const std::string& where) {
  std::vector<Value> out;
  if (tools == nullptr) return out;
  if (!tools->Is(Kind::kList)) Refuse(where, "a list of tools or null");
  for (const Value& tool : tools->Items()) {
    if (!tool.Is(Kind::kDict)) Refuse(where, "a list of objects");
    const Value* function = FindMember(tool.AsDict(), "function");
    out.push_back(function != nullptr && function->Is(Kind::kDict) ? *function : tool);
  }
  return out;
}

NativeCall ReadCall(const Value& value, const std::string& where) {
  if (!value.Is(Kind::kDict)) Refuse(where, "an object");
  NativeCall call;
  call.id = TextMember(value.AsDict(), "id", where);
  const Value* function = FindMember(value.AsDict(), "function");
  const DictObject& inner =
      function != nullptr && function->Is(Kind::kDict) ? function->AsDict() : value.AsDict();
  call.name = TextMember(inner, "name", where + ".function");
  const Value* arguments = FindMember(inner, "arguments");
  if (arguments == nullptr) return call;
  call.arguments_value = *arguments;
  call.arguments = arguments->IsString() ? arguments->Text() : jinja::ToJson(*arguments);
  return call;
}

NativeMessage ReadMessage(const Value& value, const std::string& where) {
  if (!value.Is(Kind::kDict)) Refuse(where, "an object");
  const DictObject& dict = value.AsDict();
  NativeMessage out;
  out.role = TextMember(dict, "role", where);
  out.has_content = FindMember(dict, "content") != nullptr;
  out.content = TextMember(dict, "content", where);
  out.reasoning = TextMember(dict, "reasoning_content", where);
  out.tool_call_id = TextMember(dict, "tool_call_id", where);
  out.prefix = BoolMember(dict, "prefix", false);
  out.without_eos = BoolMember(dict, "wo_eos", false);
  out.task = TextMember(dict, "task", where);
  out.tools = ReadTools(FindMember(dict, "tools"), where + ".tools");
  if (const Value* format = FindMember(dict, "response_format")) out.response_format = *format;
  if (const Value* calls = FindMember(dict, "tool_calls")) {
    if (!calls->Is(Kind::kList)) Refuse(where + ".tool_calls", "a list or null");
    for (size_t i = 0; i < calls->Items().size(); ++i) {
      out.calls.push_back(
          ReadCall(calls->Items()[i], where + ".tool_calls[" + std::to_string(i) + "]"));
    }
  }
  return out;
}

}  // namespace

Conversation ReadConversation(const DictObject& variables) {
  Conversation out;
  const Value* messages = FindMember(variables, "messages");
  if (messages == nullptr || !messages->Is(Kind::kList)) Refuse("messages", "a list of messages");
  for (size_t i = 0; i < messages->Items().size(); ++i) {
    out.messages.push_back(
        ReadMessage(messages->Items()[i], "messages[" + std::to_string(i) + "]"));
  }
  const std::vector<Value> tools = ReadTools(FindMember(variables, "tools"), "tools");
  if (!tools.empty()) {
    if (out.messages.empty() || out.messages[0].role != "system") {
      out.messages.insert(out.messages.begin(), {.role = "system", .has_content = true});
    }
    out.messages[0].tools = tools;
  }
  out.add_generation_prompt = BoolMember(variables, "add_generation_prompt", false);
  const char* const name =
      FindMember(variables, "thinking") != nullptr ? "thinking" : "enable_thinking";
  out.thinking_given = FindMember(variables, name) != nullptr;
  out.thinking = BoolMember(variables, name, false);
  out.drop_thinking = BoolMember(variables, "drop_thinking", true);
  if (const Value* effort = FindMember(variables, "reasoning_effort")) {
    out.reasoning_effort = *effort;
  }
  return out;
}

}  // namespace inhouse::engine
