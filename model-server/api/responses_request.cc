#include "model-server/api/responses_request.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "fmt/format.h"
#include "model-server/api/param_names.h"

namespace inhouse::model_server {
namespace {

struct Translation {
  Json chat = Json::object();
  ParamNames names = {};
  Fields* fields = nullptr;

  Json& Add(const std::string& role, const std::string& source) {
    Json& messages = chat["messages"];
    names.emplace_back(fmt::format("messages[{}]", messages.size()), source);
    messages.push_back({{"role", role}, {"content", nullptr}});
    return messages.back();
  }
  void Fail(const std::string& path, const std::string& expected) const {
    fields->Fail(InvalidRequest(path, "invalid_value",
                                fmt::format("Invalid '{}': expected {}.", path, expected)));
  }
  void Refuse(const std::string& path, const std::string& why) const {
    fields->Fail(InvalidRequest(path, "unsupported_parameter",
                                fmt::format("Unsupported parameter: '{}'. {}", path, why)));
  }
  // The assistant's message that is being put together of its items; null if another came last.
  Json* OpenAssistant() {
    Json& messages = chat["messages"];
    if (messages.empty() || messages.back()["role"] != "assistant") return nullptr;
    return &messages.back();
  }
};

std::string TextMember(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

void AddMessage(const Json& item, const std::string& path, Translation* to) {
  const std::string role = TextMember(item, "role");
  if (role != "user" && role != "assistant" && role != "system" && role != "developer") {
    return to->Fail(path + ".role", "'user', 'assistant', 'system' or 'developer'");
  }
  Json* open = role == "assistant" ? to->OpenAssistant() : nullptr;
  const bool joins =
      open != nullptr && (*open)["content"].is_null() && !open->contains("tool_calls");
  Json& message = joins ? *open : to->Add(role, path);
  message["content"] = item.value("content", Json());
}

void AddCall(const Json& item, const std::string& path, Translation* to) {
  if (TextMember(item, "name").empty()) return to->Fail(path + ".name", "the name of a function");
  Json* open = to->OpenAssistant();
  Json& message = open != nullptr ? *open : to->Add("assistant", path);
  message["tool_calls"].push_back(
      {{"id", TextMember(item, "call_id")},
       {"type", "function"},
       {"function", {{"name", item["name"]}, {"arguments", item.value("arguments", Json(""))}}}});
}

void AddReasoning(const Json& item, const std::string& path, Translation* to) {
  std::string text;
  for (const char* key : {"content", "summary"}) {
    const Json parts = item.value(key, Json::array());
    if (!parts.is_array() || !text.empty()) continue;
    for (const Json& part : parts) {
      if (part.is_object()) text += TextMember(part, "text");
    }
  }
  Json& message = to->Add("assistant", path);
  message["reasoning_content"] = text;
}

void AddItem(const Json& item, const std::string& path, Translation* to) {
  if (!item.is_object()) return to->Fail(path, "an object");
  const std::string type = item.contains("type") ? TextMember(item, "type") : "message";
  if (type == "message") return AddMessage(item, path, to);
  if (type == "function_call") return AddCall(item, path, to);
  if (type == "reasoning") return AddReasoning(item, path, to);
  if (type == "function_call_output") {
    Json& message = to->Add("tool", path);
    message["tool_call_id"] = TextMember(item, "call_id");
    message["content"] = item.value("output", Json());
    to->names.insert(to->names.begin(), {to->names.back().first + ".content", path + ".output"});
    return;
  }
  to->Fail(path + ".type",
           "'message', 'function_call', 'function_call_output' or 'reasoning': this server keeps "
           "no items and runs no tools of its own");
}

void AddInput(const Json& body, Translation* to) {
  std::string instructions;
  to->fields->Text("instructions", &instructions);
  if (!to->fields->ok()) return;
  if (!instructions.empty()) to->Add("system", "instructions")["content"] = instructions;
  const auto input = body.find("input");
  if (input == body.end() || input->is_null()) return to->fields->FailRequired("input");
  if (input->is_string()) {
    to->Add("user", "input")["content"] = *input;
    return;
  }
  if (!input->is_array() || input->empty()) {
    return to->Fail("input", "a string, or an array of items that is not empty");
  }
  for (size_t i = 0; i < input->size() && to->fields->ok(); ++i) {
    AddItem((*input)[i], fmt::format("input[{}]", i), to);
  }
}

// {"type":"function","name",...} -> {"type":"function","function":{"name",...}}
Json NestedFunction(const Json& flat) {
  Json function = Json::object();
  for (const char* key : {"name", "description", "parameters", "strict"}) {
    if (flat.contains(key) && !flat[key].is_null()) function[key] = flat[key];
  }
  return {{"type", "function"}, {"function", std::move(function)}};
}

void AddTools(const Json& body, Translation* to) {
  const auto tools = body.find("tools");
  if (tools == body.end() || tools->is_null()) return;
  if (!tools->is_array()) return to->Fail("tools", "an array of objects");
  Json& out = to->chat["tools"];
  out = Json::array();
  for (size_t i = 0; i < tools->size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    if (!(*tools)[i].is_object() || TextMember((*tools)[i], "type") != "function") {
      return to->Fail(path + ".type", "'function': this server runs no tools of its own");
    }
    to->names.emplace_back(path + ".function", path);
    out.push_back(NestedFunction((*tools)[i]));
  }
}

void AddToolChoice(const Json& body, Translation* to) {
  const Json choice = body.value("tool_choice", Json());
  if (choice.is_null()) return;
  Json& out = to->chat["tool_choice"];
  const std::string type = choice.is_object() ? TextMember(choice, "type") : std::string();
  if (type == "function") {
    out = {{"type", "function"}, {"function", {{"name", choice.value("name", Json())}}}};
  } else if (type == "allowed_tools") {
    Json tools = Json::array();
    const Json listed = choice.value("tools", Json::array());
    for (const Json& tool : listed) {
      if (tool.is_object()) tools.push_back(NestedFunction(tool));
    }
    out = {{"type", "allowed_tools"},
           {"allowed_tools", {{"mode", choice.value("mode", Json("auto"))}, {"tools", tools}}}};
  } else {
    out = choice;
  }
}

// text.format goes where response_format goes.
void AddText(const Json& body, Translation* to) {
  const Json text = body.value("text", Json());
  if (text.is_null()) return;
  if (!text.is_object()) return to->Fail("text", "an object");
  const Json format = text.value("format", Json());
  if (format.is_null()) return;
  Json& out = to->chat["response_format"];
  if (format.is_object() && TextMember(format, "type") == "json_schema") {
    Json schema = Json::object();
    for (const char* key : {"name", "description", "schema", "strict"}) {
      if (format.contains(key)) schema[key] = format[key];
    }
    out = {{"type", "json_schema"}, {"json_schema", std::move(schema)}};
    to->names.emplace_back("response_format.json_schema", "text.format");
  } else {
    out = format;
  }
  to->names.emplace_back("response_format", "text.format");
}

void AddReasoningOptions(const Json& body, Translation* to) {
  const Json reasoning = body.value("reasoning", Json());
  if (reasoning.is_null()) return;
  if (!reasoning.is_object()) return to->Fail("reasoning", "an object");
  if (reasoning.contains("effort")) to->chat["reasoning_effort"] = reasoning["effort"];
  to->names.emplace_back("reasoning_effort", "reasoning.effort");
}

void AddLogprobs(const Json& body, Translation* to) {
  const Json include = body.value("include", Json());
  const bool wanted =
      include.is_array() &&
      std::find(include.begin(), include.end(), "message.output_text.logprobs") != include.end();
  const Json top = body.value("top_logprobs", Json());
  if (!wanted && (top.is_null() || top == 0)) return;
  to->chat["logprobs"] = true;
  if (body.contains("top_logprobs")) to->chat["top_logprobs"] = body["top_logprobs"];
}

void RefuseState(const Json& body, const Translation& to) {
  const auto given = [&body](const char* key) {
    const auto found = body.find(key);
    return found != body.end() && !found->is_null() && *found != false;
  };
  if (given("previous_response_id")) {
    to.Refuse("previous_response_id",
              "This server keeps no responses. Send the whole conversation in 'input'.");
  }
  if (given("conversation")) {
    to.Refuse("conversation",
              "This server keeps no conversations. Send the whole conversation in 'input'.");
  }
  if (given("background")) {
    to.Refuse(
        "background",
        "This server keeps no responses. Wait for the answer, stream it, or use /v1/batches.");
  }
  if (given("prompt")) {
    to.Refuse("prompt", "This server keeps no prompts. Use 'instructions' and 'input'.");
  }
}

// What has another name or another form in a chat request; everything else is read there.
constexpr std::array<std::string_view, 21> kTranslated = {"input",
                                                          "instructions",
                                                          "tools",
                                                          "tool_choice",
                                                          "text",
                                                          "reasoning",
                                                          "include",
                                                          "messages",
                                                          "n",
                                                          "max_tokens",
                                                          "max_output_tokens",
                                                          "logprobs",
                                                          "top_logprobs",
                                                          "stream_options",
                                                          "response_format",
                                                          "reasoning_effort",
                                                          "prompt_logprobs",
                                                          "prompt",
                                                          "echo",
                                                          "prefix",
                                                          "continue_final_message"};

void CopyMembers(const Json& body, Translation* to) {
  for (const auto& [key, value] : body.items()) {
    if (std::find(kTranslated.begin(), kTranslated.end(), key) == kTranslated.end()) {
      to->chat[key] = value;
    }
  }
  if (body.contains("max_output_tokens")) {
    to->chat["max_completion_tokens"] = body["max_output_tokens"];
  }
  to->names.emplace_back("max_completion_tokens", "max_output_tokens");
}

void ReadEcho(const Json& body, ResponseEcho* echo) {
  static const Json kDefaults = Json::parse(
      R"({"background":false,"instructions":null,"max_output_tokens":null,"max_tool_calls":null,)"
      R"("metadata":{},"parallel_tool_calls":true,"previous_response_id":null,)"
      R"("reasoning":{"effort":null,"summary":null},"safety_identifier":null,)"
      R"("prompt_cache_key":null,"temperature":1.0,"text":{"format":{"type":"text"}},)"
      R"("tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"truncation":"disabled",)"
      R"("user":null})");
  for (const auto& [key, value] : kDefaults.items()) {
    const auto found = body.find(key);
    const bool given = found != body.end() && !found->is_null();
    echo->emplace_back(key, given ? found->dump() : value.dump());
  }
  echo->emplace_back("store", "false");
}

}  // namespace

std::optional<ApiError> ReadResponsesRequest(const Json& body, const ModelBounds& bounds,
                                             ChatRequest* out, ResponseEcho* echo) {
  Fields fields(body);
  Translation to{.fields = &fields};
  CopyMembers(body, &to);
  to.chat["messages"] = Json::array();
  RefuseState(body, to);
  if (fields.ok()) AddInput(body, &to);
  if (fields.ok()) AddTools(body, &to);
  if (fields.ok()) AddToolChoice(body, &to);
  if (fields.ok()) AddText(body, &to);
  if (fields.ok()) AddReasoningOptions(body, &to);
  if (auto error = fields.TakeError()) return error;
  AddLogprobs(body, &to);
  if (auto error = ReadChatRequest(to.chat, bounds, out)) {
    UseClientNames(to.names, &*error);
    return error;
  }
  ReadEcho(body, echo);
  return std::nullopt;
}

}  // namespace inhouse::model_server
