#include "engine/prompt/variables.h"

#include "base/status.h"
#include "engine/prompt/jinja/json.h"

namespace inhouse::engine {
namespace {

using jinja::DictObject;
using jinja::Kind;
using jinja::Value;

std::shared_ptr<DictObject> NewDict() { return std::make_shared<DictObject>(); }
Value Text(std::string_view text) { return Value::String(std::string(text)); }

Value CallValue(const ToolCall& call, bool object_arguments) {
  Value arguments = Text(call.arguments);
  if (object_arguments) {
    const auto parsed = jinja::ParseJson(call.arguments, "arguments");
    if (parsed.ok() && parsed->Is(Kind::kDict)) arguments = *parsed;
  }
  auto function = NewDict();
  function->Set(Text("name"), Text(call.name));
  function->Set(Text("arguments"), std::move(arguments));
  auto out = NewDict();
  if (!call.id.empty()) out->Set(Text("id"), Text(call.id));
  out->Set(Text("type"), Text("function"));
  out->Set(Text("function"), Value::Dict(std::move(function)));
  return Value::Dict(std::move(out));
}

Value MessageValue(const ChatMessage& message, const MessageStyle& style) {
  auto out = NewDict();
  const bool developer = message.role == "developer" && !style.developer;
  out->Set(Text("role"), Text(developer ? "system" : message.role));
  const bool empty = !message.content || (message.content->empty() && !message.tool_calls.empty());
  if (!empty) {
    out->Set(Text("content"), Text(*message.content));
  } else {
    const bool none = !message.tool_calls.empty() && style.null_content;
    out->Set(Text("content"), none ? Value::None() : Text(""));
  }
  if (message.reasoning) out->Set(Text("reasoning_content"), Text(*message.reasoning));
  if (!message.tool_calls.empty()) {
    std::vector<Value> calls;
    for (const ToolCall& call : message.tool_calls) {
      calls.push_back(CallValue(call, style.object_arguments));
    }
    out->Set(Text("tool_calls"), Value::List(std::move(calls)));
  }
  if (!message.tool_call_id.empty()) out->Set(Text("tool_call_id"), Text(message.tool_call_id));
  if (!message.name.empty()) out->Set(Text("name"), Text(message.name));
  if (message.prefix) out->Set(Text("prefix"), Value::Bool(true));
  return Value::Dict(std::move(out));
}

// The first of the three names that is not null fills reasoning_content.
Value AliasReasoning(const Value& message) {
  if (!message.Is(Kind::kDict)) return message;
  for (const std::string_view name : {"reasoning_content", "thinking", "reasoning"}) {
    const Value* found = message.AsDict().Find(name);
    if (found == nullptr || found->IsNone()) continue;
    auto out = NewDict();
    for (const auto& [key, value] : message.AsDict().entries) out->Set(key, value);
    out->Set(Text("reasoning_content"), *found);
    return Value::Dict(std::move(out));
  }
  return message;
}

void SetDefault(DictObject* dict, std::string_view name, const Value& value) {
  if (dict->Find(name) == nullptr) dict->Set(Text(name), value);
}

}  // namespace

std::shared_ptr<DictObject> VariablesOf(const std::vector<ChatMessage>& messages,
                                        const ChatOptions& options, const MessageStyle& style) {
  auto out = NewDict();
  std::vector<Value> list;
  for (const ChatMessage& message : messages) list.push_back(MessageValue(message, style));
  out->Set(Text("messages"), Value::List(std::move(list)));
  const bool tools = options.tools.is_array() && !options.tools.empty();
  out->Set(Text("tools"), tools ? jinja::FromJson(options.tools) : Value::None());
  out->Set(Text("documents"), Value::None());
  out->Set(Text("add_generation_prompt"), Value::Bool(options.add_generation_prompt));
  out->Set(Text("bos_token"), Text(options.bos_token));
  out->Set(Text("eos_token"), Text(options.eos_token));
  if (options.variables.is_object()) {
    for (const auto& [name, value] : options.variables.items()) {
      out->Set(Text(name), jinja::FromJson(value));
    }
  }
  return out;
}

absl::StatusOr<std::shared_ptr<DictObject>> VariablesOfJson(std::string_view json) {
  INHOUSE_ASSIGN_OR_RETURN(const Value input, jinja::ParseJson(json, "input"));
  if (!input.Is(Kind::kDict)) {
    return base::InvalidInput({.file = "input",
                               .value = std::string(json.substr(0, 60)),
                               .expected = "a JSON object with messages"});
  }
  auto out = NewDict();
  for (const auto& [key, value] : input.AsDict().entries) out->Set(key, value);
  const Value* messages = out->Find("messages");
  if (messages == nullptr) return out;
  if (messages->Is(Kind::kList)) {
    std::vector<Value> list;
    for (const Value& message : messages->Items()) list.push_back(AliasReasoning(message));
    out->Set(Text("messages"), Value::List(std::move(list)));
  }
  SetDefault(out.get(), "tools", Value::None());
  SetDefault(out.get(), "documents", Value::None());
  SetDefault(out.get(), "add_generation_prompt", Value::Bool(false));
  return out;
}

}  // namespace inhouse::engine
