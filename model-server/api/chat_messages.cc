// The `messages` of a chat request.
#include <array>
#include <utility>

#include "fmt/format.h"
#include "model-server/api/chat_request.h"

namespace inhouse::model_server {
namespace {

using engine::ChatMessage;
using engine::ToolCall;

constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                    "assistant", "tool",      "function"};

// {"type":"text","text":"..."}: LangChain and Open WebUI send content in such parts.
void ReadPart(const Json& part, const std::string& path, Fields* fields, std::string* out) {
  if (part.is_string()) {
    *out = part.get<std::string>();
    return;
  }
  if (!part.is_object()) {
    return fields->Fail(InvalidRequest(
        path, "invalid_type", fmt::format("Invalid type for '{}': expected an object.", path)));
  }
  Fields inner(part, path);
  std::string type = "text";
  inner.Text("type", &type);
  if (inner.ok() && type != "text" && type != "input_text" && type != "output_text" &&
      type != "refusal") {
    inner.Fail(InvalidRequest(
        inner.Param("type"), "invalid_value",
        fmt::format("Invalid '{}': '{}'. Supported values are: 'text'. This model reads text only.",
                    inner.Param("type"), type.substr(0, 40))));
  }
  const char* key = type == "refusal" ? "refusal" : "text";
  if (inner.ok() && inner.Find(key) == nullptr) inner.FailRequired(key);
  inner.Text(key, out);
  if (auto error = inner.TakeError()) fields->Fail(*std::move(error));
}

void ReadContent(const Json& content, const std::string& path, Fields* fields,
                 std::optional<std::string>* out) {
  if (content.is_string()) {
    *out = content.get<std::string>();
    return;
  }
  if (!content.is_array()) {
    return fields->Fail(InvalidRequest(
        path, "invalid_type",
        fmt::format(
            "Invalid type for '{}': expected a string or an array of text parts, but got {} "
            "instead.",
            path, JsonTypeName(content))));
  }
  std::string joined;
  for (size_t i = 0; i < content.size() && fields->ok(); ++i) {
    std::string text;
    ReadPart(content[i], fmt::format("{}[{}]", path, i), fields, &text);
    if (i > 0) joined += '\n';
    joined += text;
  }
  *out = std::move(joined);
}

// {"name", "arguments"}; some clients send the arguments as an object.
void ReadFunction(const Json& function, const std::string& path, Fields* fields, ToolCall* out) {
  if (!function.is_object()) {
    return fields->Fail(InvalidRequest(
        path, "invalid_type", fmt::format("Invalid type for '{}': expected an object.", path)));
  }
  Fields inner(function, path);
  if (inner.Find("name") == nullptr) inner.FailRequired("name");
  inner.Text("name", &out->name);
  const Json* arguments = inner.Find("arguments");
  if (arguments != nullptr && arguments->is_object()) {
    out->arguments = arguments->dump();
  } else {
    inner.Text("arguments", &out->arguments);
  }
  if (auto error = inner.TakeError()) fields->Fail(*std::move(error));
}

void ReadToolCalls(const Json& calls, const std::string& path, Fields* fields,
                   std::vector<ToolCall>* out) {
  if (!calls.is_array()) {
    return fields->Fail(InvalidRequest(
        path, "invalid_type", fmt::format("Invalid type for '{}': expected an array.", path)));
  }
  for (size_t i = 0; i < calls.size() && fields->ok(); ++i) {
    const std::string item = fmt::format("{}[{}]", path, i);
    if (!calls[i].is_object() || !calls[i].contains("function")) {
      return fields->Fail(
          InvalidRequest(item + ".function", "missing_required_parameter",
                         fmt::format("Missing required parameter: '{}.function'.", item)));
    }
    ToolCall call;
    Fields inner(calls[i], item);
    inner.Text("id", &call.id);
    if (auto error = inner.TakeError()) return fields->Fail(*std::move(error));
    ReadFunction(calls[i]["function"], item + ".function", fields, &call);
    out->push_back(std::move(call));
  }
}

void ReadRole(Fields* fields, std::string* out) {
  if (fields->Find("role") == nullptr) return fields->FailRequired("role");
  fields->Text("role", out);
  if (!fields->ok()) return;
  for (const std::string_view role : kRoles) {
    if (*out == role) return;
  }
  fields->Fail(InvalidRequest(
      fields->Param("role"), "invalid_value",
      fmt::format("Invalid '{}': '{}'. Supported values are: 'system', 'developer', 'user', "
                  "'assistant', 'tool' and 'function'.",
                  fields->Param("role"), out->substr(0, 40))));
}

void ReadMessage(Fields* fields, ChatMessage* out) {
  ReadRole(fields, &out->role);
  if (out->role == "function") out->role = "tool";  // the name of old
  if (const Json* content = fields->Find("content")) {
    ReadContent(*content, fields->Param("content"), fields, &out->content);
  }
  fields->Text("name", &out->name);
  fields->Text("tool_call_id", &out->tool_call_id);
  fields->Text("reasoning", &out->reasoning);
  fields->Text("reasoning_content", &out->reasoning);
  fields->Bool("prefix", &out->prefix);
  if (const Json* calls = fields->Find("tool_calls")) {
    ReadToolCalls(*calls, fields->Param("tool_calls"), fields, &out->tool_calls);
  }
  if (const Json* call = fields->Find("function_call")) {
    ReadFunction(*call, fields->Param("function_call"), fields, &out->tool_calls.emplace_back());
  }
  if (!out->content && out->role == "assistant" && out->tool_calls.empty()) {
    fields->Text("refusal", &out->content);
  }
  const bool may_be_empty =
      out->role == "assistant" && (!out->tool_calls.empty() || out->reasoning.has_value());
  if (!out->content && !may_be_empty) fields->FailRequired("content");
}

}  // namespace

void ReadMessages(const Json& list, Fields* fields, std::vector<ChatMessage>* out) {
  if (!list.is_array()) return fields->FailType("messages", "an array of objects", list);
  if (list.empty()) {
    return fields->Fail(InvalidRequest(
        "messages", "empty_array",
        "Invalid 'messages': empty array. Expected an array with at least one message."));
  }
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string path = fmt::format("messages[{}]", i);
    if (!list[i].is_object()) return fields->FailType(path, "an object", list[i]);
    Fields inner(list[i], path);
    ReadMessage(&inner, &out->emplace_back());
    if (auto error = inner.TakeError()) return fields->Fail(*std::move(error));
    if (out->back().prefix && (i + 1 < list.size() || out->back().role != "assistant")) {
      return fields->Fail(InvalidRequest(
          path + ".prefix", "invalid_value",
          fmt::format(
              "Invalid '{}.prefix': only the last message can be continued, and only if its "
              "role is 'assistant'.",
              path)));
    }
  }
}

}  // namespace inhouse::model_server
