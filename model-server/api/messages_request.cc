#include "model-server/api/messages_request.h"

#include <string>
#include <utility>

#include "fmt/format.h"
#include "model-server/api/param_names.h"

namespace inhouse::model_server {
namespace {

// The chat request that is built, and where its parts came from.
struct Translation {
  Json chat = Json::object();
  ParamNames names = {};
  Fields* fields = nullptr;

  Json& Add(const char* role, const std::string& source) {
    Json& messages = chat["messages"];
    names.emplace_back(fmt::format("messages[{}]", messages.size()), source);
    messages.push_back({{"role", role}});
    return messages.back();
  }
  void Fail(const std::string& path, const std::string& expected) const {
    fields->Fail(InvalidRequest(path, "invalid_value",
                                fmt::format("Invalid '{}': expected {}.", path, expected)));
  }
};

std::string TextMember(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Text of a string or of blocks of text; documents that are plain text count as text.
std::optional<std::string> PlainText(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return std::nullopt;
  std::string joined;
  for (const Json& block : content) {
    if (!block.is_object()) return std::nullopt;
    const std::string type = TextMember(block, "type");
    const Json* text = nullptr;
    if (type == "text" && block.contains("text")) text = &block["text"];
    if (type == "document" && block.contains("source") && block["source"].is_object() &&
        block["source"].value("type", Json()) == "text" && block["source"].contains("data")) {
      text = &block["source"]["data"];
    }
    if (text == nullptr || !text->is_string()) return std::nullopt;
    if (!joined.empty()) joined += '\n';
    joined += text->get<std::string>();
  }
  return joined;
}

constexpr const char* kTextOnly =
    "a string, or blocks of type 'text' or plain-text 'document': this model reads text only";

void AddSystem(const Json& body, Translation* to) {
  const auto system = body.find("system");
  if (system == body.end() || system->is_null()) return;
  const auto text = PlainText(*system);
  if (!text) return to->Fail("system", kTextOnly);
  if (!text->empty()) to->Add("system", "system")["content"] = *text;
}

// What tools answered goes before what the user says beside it.
void AddUser(const Json& content, const std::string& path, Translation* to) {
  Json said = Json::array();
  bool has_results = false;
  for (size_t i = 0; i < content.size(); ++i) {
    const Json& block = content[i];
    const std::string at = fmt::format("{}[{}]", path, i);
    if (!block.is_object() || TextMember(block, "type") != "tool_result") {
      said.push_back(block);
      continue;
    }
    has_results = true;
    const auto text = block.contains("content") && !block["content"].is_null()
                          ? PlainText(block["content"])
                          : std::string();
    if (!text) return to->Fail(at + ".content", kTextOnly);
    Json& message = to->Add("tool", at);
    message["tool_call_id"] = TextMember(block, "tool_use_id");
    message["content"] = block.value("is_error", Json()) == true ? "Error: " + *text : *text;
  }
  if (said.empty() && has_results) return;
  const auto text = PlainText(said);
  if (!text) return to->Fail(path, kTextOnly);
  to->Add("user", path)["content"] = *text;
}

void AddToolUse(const Json& block, const std::string& at, const Translation& to, Json* message) {
  const Json input = block.value("input", Json::object());
  if (TextMember(block, "name").empty()) return to.Fail(at + ".name", "the name of a tool");
  if (!input.is_object()) return to.Fail(at + ".input", "an object");
  (*message)["tool_calls"].push_back(
      {{"id", TextMember(block, "id")},
       {"type", "function"},
       {"function", {{"name", block["name"]}, {"arguments", input.dump()}}}});
}

void AddAssistant(const Json& content, const std::string& path, Translation* to) {
  Json& message = to->Add("assistant", path);
  message["content"] = nullptr;
  const auto append = [&message](const char* key, const std::string& text) {
    const Json old = message.value(key, Json());
    message[key] = (old.is_string() ? old.get<std::string>() : std::string()) + text;
  };
  for (size_t i = 0; i < content.size() && to->fields->ok(); ++i) {
    const Json& block = content[i];
    const std::string at = fmt::format("{}[{}]", path, i);
    const std::string type = block.is_object() ? TextMember(block, "type") : std::string();
    if (type == "text" && block.contains("text") && block["text"].is_string()) {
      append("content", TextMember(block, "text"));
    } else if (type == "thinking") {
      append("reasoning_content", TextMember(block, "thinking"));
    } else if (type == "tool_use") {
      AddToolUse(block, at, *to, &message);
    } else if (type != "redacted_thinking") {
      to->Fail(at, "a block of type 'text', 'thinking' or 'tool_use'");
    }
  }
  if (message["content"].is_null() && !message.contains("tool_calls")) message["content"] = "";
}

void AddMessages(const Json& body, Translation* to) {
  const auto list = body.find("messages");
  if (list == body.end() || list->is_null()) return to->fields->FailRequired("messages");
  if (!list->is_array() || list->empty()) {
    return to->Fail("messages", "an array with at least one message");
  }
  for (size_t i = 0; i < list->size() && to->fields->ok(); ++i) {
    const Json& message = (*list)[i];
    const std::string path = fmt::format("messages[{}]", i);
    if (!message.is_object()) return to->Fail(path, "an object");
    const std::string role = TextMember(message, "role");
    if (role != "user" && role != "assistant") {
      return to->Fail(path + ".role", "'user' or 'assistant'");
    }
    const auto content = message.find("content");
    const bool is_text = content != message.end() && content->is_string();
    if (!is_text && (content == message.end() || !content->is_array())) {
      return to->Fail(path + ".content", "a string or an array of blocks");
    }
    if (is_text) {
      to->Add(role.c_str(), path)["content"] = *content;
    } else if (role == "user") {
      AddUser(*content, path + ".content", to);
    } else {
      AddAssistant(*content, path + ".content", to);
    }
  }
  // A last turn of the assistant is the beginning of its answer.
  Json& messages = to->chat["messages"];
  if (to->fields->ok() && !messages.empty() && messages.back()["role"] == "assistant" &&
      !messages.back().contains("tool_calls")) {
    messages.back()["prefix"] = true;
  }
}

void AddTools(const Json& body, Translation* to) {
  const auto tools = body.find("tools");
  if (tools == body.end() || tools->is_null()) return;
  if (!tools->is_array()) return to->Fail("tools", "an array of objects");
  Json& out = to->chat["tools"];
  out = Json::array();
  for (size_t i = 0; i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const std::string path = fmt::format("tools[{}]", i);
    if (!tool.is_object()) return to->Fail(path, "an object");
    const std::string type = tool.contains("type") ? TextMember(tool, "type") : "custom";
    if (type != "custom" && !(tool.contains("type") && tool["type"].is_null())) {
      return to->Fail(path + ".type", "'custom': this server runs no tools of its own");
    }
    Json function = {{"name", tool.value("name", Json())}};
    if (tool.contains("description")) function["description"] = tool["description"];
    function["parameters"] = tool.value("input_schema", Json::object());
    if (tool.contains("strict")) function["strict"] = tool["strict"];
    to->names.emplace_back(path + ".function", path);
    out.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
}

void AddToolChoice(const Json& body, Translation* to) {
  const auto choice = body.find("tool_choice");
  if (choice == body.end() || choice->is_null()) return;
  const std::string type = choice->is_object() ? TextMember(*choice, "type") : std::string();
  Json& out = to->chat["tool_choice"];
  if (type == "auto" || type == "none") {
    out = type;
  } else if (type == "any") {
    out = "required";
  } else if (type == "tool") {
    out = {{"type", "function"}, {"function", {{"name", choice->value("name", Json())}}}};
  } else {
    return to->Fail("tool_choice.type", "'auto', 'any', 'tool' or 'none'");
  }
  if (choice->value("disable_parallel_tool_use", Json()) == true) {
    to->chat["parallel_tool_calls"] = false;
  }
}

// Anthropic's models think when they are asked to.
void AddThinking(const Json& body, Translation* to) {
  to->chat["thinking"] = {{"type", "disabled"}};
  const auto thinking = body.find("thinking");
  if (thinking != body.end() && !thinking->is_null()) {
    const std::string type = thinking->is_object() ? TextMember(*thinking, "type") : std::string();
    if (type != "enabled" && type != "disabled" && type != "adaptive") {
      return to->Fail("thinking.type", "'enabled', 'disabled' or 'adaptive'");
    }
    to->chat["thinking"]["type"] = type == "disabled" ? "disabled" : "enabled";
    if (type == "enabled" && thinking->contains("budget_tokens")) {
      to->chat["thinking_token_budget"] = (*thinking)["budget_tokens"];
      to->names.emplace_back("thinking_token_budget", "thinking.budget_tokens");
    }
  }
}

// output_config {effort, format}, and the beta's output_format.
void AddOutput(const Json& body, Translation* to) {
  Json config = body.value("output_config", Json());
  if (!config.is_null() && !config.is_object()) return to->Fail("output_config", "an object");
  if (config.is_null()) config = Json::object();
  if (config.contains("effort") && !config["effort"].is_null()) {
    to->chat["reasoning_effort"] = config["effort"];
    to->names.emplace_back("reasoning_effort", "output_config.effort");
  }
  const bool beta = !config.contains("format") && body.contains("output_format");
  const std::string path = beta ? "output_format" : "output_config.format";
  const Json format = beta ? body["output_format"] : config.value("format", Json());
  if (format.is_null()) return;
  if (!format.is_object() || TextMember(format, "type") != "json_schema") {
    return to->Fail(path + ".type", "'json_schema'");
  }
  to->chat["response_format"] = {
      {"type", "json_schema"},
      {"json_schema",
       {{"name", "output"}, {"schema", format.value("schema", Json())}, {"strict", true}}}};
  to->names.emplace_back("response_format.json_schema", path);
  to->names.emplace_back("response_format", path);
}

void CopyMembers(const Json& body, Translation* to) {
  static constexpr std::pair<const char*, const char*> kSame[] = {
      {"model", "model"},         {"max_tokens", "max_tokens"},
      {"stop_sequences", "stop"}, {"temperature", "temperature"},
      {"top_p", "top_p"},         {"top_k", "top_k"},
      {"stream", "stream"},       {"seed", "seed"},
      {"priority", "priority"},   {"chat_template_kwargs", "chat_template_kwargs"}};
  for (const auto& [theirs, ours] : kSame) {
    if (body.contains(theirs)) to->chat[ours] = body[theirs];
  }
  to->names.emplace_back("stop", "stop_sequences");
}

}  // namespace

std::optional<ApiError> ReadMessagesRequest(const Json& body, const ModelBounds& bounds,
                                            bool needs_max_tokens, ChatRequest* out) {
  Fields fields(body);
  Translation to{.fields = &fields};
  to.chat["messages"] = Json::array();
  CopyMembers(body, &to);
  if (needs_max_tokens && fields.Find("max_tokens") == nullptr) fields.FailRequired("max_tokens");
  const Json* stop = fields.Find("stop_sequences");
  if (stop != nullptr && !stop->is_array()) {
    fields.FailType("stop_sequences", "an array of strings", *stop);
  }
  AddSystem(body, &to);
  if (fields.ok()) AddMessages(body, &to);
  if (fields.ok()) AddTools(body, &to);
  if (fields.ok()) AddToolChoice(body, &to);
  if (fields.ok()) AddThinking(body, &to);
  if (fields.ok()) AddOutput(body, &to);
  if (auto error = fields.TakeError()) return error;
  auto error = ReadChatRequest(to.chat, bounds, out);
  if (error) UseClientNames(to.names, &*error);
  return error;
}

}  // namespace inhouse::model_server
