#include "model-server/api/messages_writer.h"

#include <utility>

#include "base/utf8.h"
#include "model-server/api/json_writer.h"
#include "nlohmann/json.hpp"

namespace inhouse::model_server {
namespace {

std::string_view ErrorType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

// `param` and `code` are not Anthropic's, but say what to mend.
std::string ErrorBody(int status, const ApiError& error, std::string_view id) {
  JsonWriter json;
  json.BeginObject().Key("type").String("error").Key("error").BeginObject();
  json.Key("type").String(ErrorType(status));
  json.Key("message").String(base::ReplaceInvalidUtf8(error.message));
  if (!error.param.empty()) json.Key("param").String(base::ReplaceInvalidUtf8(error.param));
  if (!error.code.empty()) json.Key("code").String(error.code);
  json.EndObject();
  if (!id.empty()) json.Key("request_id").String(id);
  json.EndObject();
  return json.Take();
}

std::string StopReason(std::string_view finish, std::string_view stop_string) {
  if (finish == "length") return "max_tokens";
  if (finish == "tool_calls") return "tool_use";
  return stop_string.empty() ? "end_turn" : "stop_sequence";
}

// What the cache gave is not counted among the input tokens.
void WriteUsage(const AnswerUsage& usage, JsonWriter* json) {
  json->Key("usage").BeginObject();
  json->Key("input_tokens").Int(usage.prompt_tokens - usage.cached_tokens);
  json->Key("cache_creation_input_tokens").Int(0);
  json->Key("cache_read_input_tokens").Int(usage.cached_tokens);
  json->Key("output_tokens").Int(usage.completion_tokens);
  json->Key("output_tokens_details").BeginObject();
  json->Key("thinking_tokens").Int(usage.reasoning_tokens).EndObject().EndObject();
}

void WriteStop(std::string_view finish, std::string_view stop_string, JsonWriter* json) {
  json->Key("stop_reason");
  if (finish.empty()) {
    json->Null();
  } else {
    json->String(StopReason(finish, stop_string));
  }
  json->Key("stop_sequence");
  if (finish != "stop" || stop_string.empty()) {
    json->Null();
  } else {
    json->String(stop_string);
  }
}

void WriteHead(const AnswerHead& head, JsonWriter* json) {
  json->BeginObject().Key("id").String(head.id).Key("type").String("message");
  json->Key("role").String("assistant").Key("model").String(head.model);
}

// Anthropic's `input` is an object; what the model wrote need not be one.
std::string InputObject(const std::string& arguments) {
  const auto parsed = nlohmann::ordered_json::parse(arguments, nullptr, false);
  if (parsed.is_object()) return arguments;
  JsonWriter json;
  json.BeginObject();
  if (!arguments.empty()) json.Key("arguments").String(base::ReplaceInvalidUtf8(arguments));
  json.EndObject();
  return json.Take();
}

enum class Block { kNone, kThinking, kText, kTool };

class MessagesWriter final : public ChatWriter {
 public:
  explicit MessagesWriter(AnswerHead head) : head_(std::move(head)) {}

  std::string_view call_id_prefix() const override { return "toolu_"; }

  std::string Start(int64_t prompt_tokens) override {
    JsonWriter json;
    json.BeginObject().Key("type").String("message_start").Key("message");
    WriteHead(head_, &json);
    json.Key("content").BeginArray().EndArray();
    WriteStop("", "", &json);
    WriteUsage({.prompt_tokens = prompt_tokens}, &json);
    json.EndObject().EndObject();
    return NamedEvent("message_start", json.Take()) + NamedEvent("ping", R"({"type":"ping"})");
  }

  std::string Piece(const ChatPiece& piece) override {
    std::string out;
    if (!piece.reasoning.empty()) {
      Open(Block::kThinking, &out);
      Delta("thinking_delta", "thinking", piece.reasoning, &out);
    }
    if (!piece.content.empty()) {
      Open(Block::kText, &out);
      Delta("text_delta", "text", piece.content, &out);
    }
    if (piece.tool_calls != nullptr) {
      for (const engine::ToolCall& call : *piece.tool_calls) {
        Close(&out);
        OpenTool(call, &out);
        if (call.arguments.empty()) continue;  // they come in pieces
        Delta("input_json_delta", "partial_json", InputObject(call.arguments), &out);
      }
    }
    if (!piece.arguments.empty()) {
      Delta("input_json_delta", "partial_json", piece.arguments, &out);
    }
    if (!piece.finish_reason.empty()) {
      finish_ = piece.finish_reason;
      stop_string_ = piece.stop_string;
    }
    return out;
  }

  std::string End(const AnswerUsage& usage) override {
    std::string out;
    Close(&out);
    JsonWriter json;
    json.BeginObject().Key("type").String("message_delta").Key("delta").BeginObject();
    WriteStop(finish_, stop_string_, &json);
    json.EndObject();
    WriteUsage(usage, &json);
    json.EndObject();
    out += NamedEvent("message_delta", json.Take());
    return out + NamedEvent("message_stop", R"({"type":"message_stop"})");
  }

  std::string Error(const ApiError& error) override {
    return NamedEvent("error", ErrorBody(error.status, error, ""));
  }

  std::string Whole(const std::vector<ChatChoice>& choices, const AnswerUsage& usage) override {
    const ChatChoice& choice = choices.front();
    JsonWriter json;
    WriteHead(head_, &json);
    json.Key("content").BeginArray();
    if (choice.reasoning) {
      json.BeginObject().Key("type").String("thinking");
      json.Key("thinking").String(*choice.reasoning).Key("signature").String("").EndObject();
    }
    if (!choice.content.empty()) {
      json.BeginObject().Key("type").String("text").Key("text").String(choice.content).EndObject();
    }
    for (const engine::ToolCall& call : choice.tool_calls) {
      WriteTool(call, InputObject(call.arguments), &json);
    }
    json.EndArray();
    WriteStop(choice.finish_reason, choice.stop_string, &json);
    WriteUsage(usage, &json);
    json.EndObject();
    return json.Take();
  }

 private:
  static void WriteTool(const engine::ToolCall& call, std::string_view input, JsonWriter* json) {
    json->BeginObject().Key("type").String("tool_use").Key("id").String(call.id);
    json->Key("name").String(call.name).Key("input").Raw(input).EndObject();
  }

  void BeginEvent(std::string_view type, JsonWriter* json) const {
    json->BeginObject().Key("type").String(type).Key("index").Int(index_);
  }

  void Open(Block block, std::string* out) {
    if (open_ == block) return;
    Close(out);
    open_ = block;
    JsonWriter json;
    BeginEvent("content_block_start", &json);
    json.Key("content_block").BeginObject();
    if (block == Block::kThinking) {
      json.Key("type").String("thinking").Key("thinking").String("").Key("signature").String("");
    } else {
      json.Key("type").String("text").Key("text").String("");
    }
    json.EndObject().EndObject();
    *out += NamedEvent("content_block_start", json.Take());
  }

  void OpenTool(const engine::ToolCall& call, std::string* out) {
    open_ = Block::kTool;
    JsonWriter json;
    BeginEvent("content_block_start", &json);
    json.Key("content_block");
    WriteTool(call, "{}", &json);
    json.EndObject();
    *out += NamedEvent("content_block_start", json.Take());
  }

  void Delta(std::string_view type, std::string_view key, std::string_view text,
             std::string* out) const {
    JsonWriter json;
    BeginEvent("content_block_delta", &json);
    json.Key("delta").BeginObject().Key("type").String(type).Key(key).String(text).EndObject();
    json.EndObject();
    *out += NamedEvent("content_block_delta", json.Take());
  }

  void Close(std::string* out) {
    if (open_ == Block::kNone) return;
    open_ = Block::kNone;
    JsonWriter json;
    BeginEvent("content_block_stop", &json);
    json.EndObject();
    *out += NamedEvent("content_block_stop", json.Take());
    ++index_;
  }

  const AnswerHead head_;
  Block open_ = Block::kNone;
  int64_t index_ = 0;  // of the open block, or of the next one
  std::string finish_ = "stop";
  std::string stop_string_;
};

}  // namespace

std::unique_ptr<ChatWriter> NewMessagesWriter(AnswerHead head) {
  return std::make_unique<MessagesWriter>(std::move(head));
}

std::string TokenCountAnswer(int64_t input_tokens) {
  JsonWriter json;
  json.BeginObject().Key("input_tokens").Int(input_tokens).EndObject();
  return json.Take();
}

std::string AnthropicErrorJson(int status, std::string_view openai_body, std::string_view id) {
  const auto parsed = nlohmann::json::parse(openai_body, nullptr, false);
  ApiError error{.message = std::string(openai_body)};
  if (parsed.is_object() && parsed.contains("error") && parsed["error"].is_object()) {
    for (const auto& [key, text] :
         {std::pair("message", &error.message), std::pair("param", &error.param),
          std::pair("code", &error.code)}) {
      const auto found = parsed["error"].find(key);
      if (found != parsed["error"].end() && found->is_string()) *text = found->get<std::string>();
    }
  }
  return ErrorBody(status, error, id);
}

}  // namespace inhouse::model_server
