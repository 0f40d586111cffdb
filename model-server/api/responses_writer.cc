#include "model-server/api/responses_writer.h"

#include <utility>

#include "base/utf8.h"
#include "fmt/format.h"
#include "model-server/api/json_writer.h"

namespace inhouse::model_server {
namespace {

enum class Kind { kReasoning, kMessage, kCall };

// One item of `output`.
struct Item {
  Kind kind = Kind::kMessage;
  std::string id = {};
  std::string text = {};  // of reasoning and messages; a call's arguments
  engine::ToolCall call = {};
  std::vector<TokenScore> scores = {};
};

class ResponsesWriter final : public ChatWriter {
 public:
  ResponsesWriter(AnswerHead head, ResponseEcho echo)
      : head_(std::move(head)), echo_(std::move(echo)) {}

  std::string Start(int64_t) override {
    std::string out = ResponseEvent("response.created", "in_progress", nullptr);
    return out + ResponseEvent("response.in_progress", "in_progress", nullptr);
  }

  std::string Piece(const ChatPiece& piece) override {
    std::string out;
    if (!piece.reasoning.empty()) {
      Open(Kind::kReasoning, &out);
      Text("response.reasoning_text.delta", piece.reasoning, {}, &out);
    }
    static const std::vector<TokenScore> kNone;
    const std::vector<TokenScore>& scores = piece.logprobs != nullptr ? *piece.logprobs : kNone;
    if (!piece.content.empty()) {
      Open(Kind::kMessage, &out);
      Text("response.output_text.delta", piece.content, scores, &out);
    }
    if (piece.tool_calls != nullptr) {
      for (const engine::ToolCall& call : *piece.tool_calls) Call(call, &out);
    }
    if (!piece.arguments.empty()) Arguments(piece.arguments, &out);
    if (!piece.finish_reason.empty()) finish_ = piece.finish_reason;
    return out;
  }

  std::string End(const AnswerUsage& usage) override {
    std::string out;
    Close(&out, Status());
    const char* status = Status();
    return out + ResponseEvent(fmt::format("response.{}", status), status, &usage);
  }

  std::string Error(const ApiError& error) override {
    JsonWriter json = Event("error");
    json.Key("code").String(error.code).Key("message");
    json.String(base::ReplaceInvalidUtf8(error.message));
    json.Key("param").Null().EndObject();
    std::string out = NamedEvent("error", json.Take());
    error_ = error;
    return out + ResponseEvent("response.failed", "failed", nullptr);
  }

  std::string Whole(const std::vector<ChatChoice>& choices, const AnswerUsage& usage) override {
    const ChatChoice& choice = choices.front();
    finish_ = choice.finish_reason;
    if (choice.reasoning) New(Kind::kReasoning)->text = *choice.reasoning;
    if (!choice.content.empty() || choice.tool_calls.empty()) {
      Item* message = New(Kind::kMessage);
      message->text = choice.content;
      if (choice.logprobs) message->scores = *choice.logprobs;
    }
    for (const engine::ToolCall& call : choice.tool_calls) {
      Item* item = New(Kind::kCall);
      item->call = call;
      item->text = call.arguments;
    }
    JsonWriter json;
    WriteResponse(Status(), &usage, &json);
    return json.Take();
  }

 private:
  const char* Status() const { return finish_ == "length" ? "incomplete" : "completed"; }

  Item* New(Kind kind) {
    static constexpr const char* kPrefixes[] = {"rs_", "msg_", "fc_"};
    const size_t dash = head_.id.find('_');
    Item item{.kind = kind};
    item.id = fmt::format("{}{}{:02x}", kPrefixes[static_cast<int>(kind)],
                          head_.id.substr(dash + 1), items_.size());
    items_.push_back(std::move(item));
    return &items_.back();
  }

  // {"type":...,"sequence_number":n, left open
  JsonWriter Event(std::string_view type) {
    JsonWriter json;
    json.BeginObject().Key("type").String(type).Key("sequence_number").Int(sequence_++);
    return json;
  }
  JsonWriter ItemEvent(std::string_view type) {
    JsonWriter json = Event(type);
    json.Key("output_index").Int(static_cast<int64_t>(items_.size()) - 1);
    return json;
  }
  JsonWriter PartEvent(std::string_view type) {
    JsonWriter json = ItemEvent(type);
    json.Key("item_id").String(items_.back().id).Key("content_index").Int(0);
    return json;
  }
  static void Emit(std::string_view type, JsonWriter* json, std::string* out) {
    json->EndObject();
    *out += NamedEvent(type, json->Take());
  }

  void Open(Kind kind, std::string* out) {
    if (open_ && items_.back().kind == kind) return;
    Close(out);
    New(kind);
    Added(out);
    JsonWriter part = PartEvent("response.content_part.added");
    WritePart(items_.back(), &part);
    Emit("response.content_part.added", &part, out);
  }

  void Added(std::string* out) {
    open_ = true;
    JsonWriter json = ItemEvent("response.output_item.added");
    WriteItem(items_.back(), "in_progress", &json);
    Emit("response.output_item.added", &json, out);
  }

  void Text(std::string_view type, std::string_view text, const std::vector<TokenScore>& scores,
            std::string* out) {
    JsonWriter json = PartEvent(type);
    json.Key("delta").String(text);
    if (items_.back().kind == Kind::kMessage) WriteScores(scores, &json);
    Emit(type, &json, out);
    items_.back().text += text;
    items_.back().scores.insert(items_.back().scores.end(), scores.begin(), scores.end());
  }

  // Whole, or without arguments, which then come in pieces.
  void Call(const engine::ToolCall& call, std::string* out) {
    Close(out);
    New(Kind::kCall)->call = call;
    Added(out);
    if (call.arguments.empty()) return;
    Arguments(call.arguments, out);
    Close(out);
  }

  void Arguments(std::string_view piece, std::string* out) {
    items_.back().text += piece;
    JsonWriter json = ItemEvent("response.function_call_arguments.delta");
    json.Key("item_id").String(items_.back().id).Key("delta").String(piece);
    Emit("response.function_call_arguments.delta", &json, out);
  }

  void Close(std::string* out, std::string_view status = "completed") {
    if (!std::exchange(open_, false)) return;
    const Item& item = items_.back();
    if (item.kind == Kind::kCall) {
      JsonWriter json = ItemEvent("response.function_call_arguments.done");
      json.Key("item_id").String(item.id).Key("name").String(item.call.name);
      json.Key("arguments").String(item.text);
      Emit("response.function_call_arguments.done", &json, out);
    } else {
      const char* type = item.kind == Kind::kMessage ? "response.output_text.done"
                                                     : "response.reasoning_text.done";
      JsonWriter text = PartEvent(type);
      text.Key("text").String(item.text);
      if (item.kind == Kind::kMessage) WriteScores(item.scores, &text);
      Emit(type, &text, out);
      JsonWriter part = PartEvent("response.content_part.done");
      WritePart(item, &part);
      Emit("response.content_part.done", &part, out);
    }
    JsonWriter json = ItemEvent("response.output_item.done");
    WriteItem(item, status, &json);
    Emit("response.output_item.done", &json, out);
  }

  static void WriteScores(const std::vector<TokenScore>& scores, JsonWriter* json) {
    json->Key("logprobs");
    WriteTokenScores(scores, json);
  }

  static void WriteContent(const Item& item, JsonWriter* json) {
    const bool message = item.kind == Kind::kMessage;
    json->BeginObject().Key("type").String(message ? "output_text" : "reasoning_text");
    json->Key("text").String(item.text);
    if (message) {
      json->Key("annotations").BeginArray().EndArray();
      WriteScores(item.scores, json);
    }
    json->EndObject();
  }

  static void WritePart(const Item& item, JsonWriter* json) {
    json->Key("part");
    WriteContent(item, json);
  }

  // An item in progress has no content yet.
  static void WriteItem(const Item& item, std::string_view status, JsonWriter* json,
                        bool keyed = true) {
    if (keyed) json->Key("item");
    json->BeginObject().Key("id").String(item.id);
    const bool done = status != "in_progress";
    if (item.kind == Kind::kCall) {
      json->Key("type").String("function_call").Key("call_id").String(item.call.id);
      json->Key("name").String(item.call.name).Key("arguments").String(item.text);
    } else {
      const bool message = item.kind == Kind::kMessage;
      json->Key("type").String(message ? "message" : "reasoning");
      if (message) json->Key("role").String("assistant");
      if (!message) json->Key("summary").BeginArray().EndArray();
      json->Key("content").BeginArray();
      if (done) WriteContent(item, json);
      json->EndArray();
      if (!message) json->Key("encrypted_content").Null();
    }
    json->Key("status").String(status).EndObject();
  }

  void WriteResponse(std::string_view status, const AnswerUsage* usage, JsonWriter* json) const {
    json->BeginObject().Key("id").String(head_.id).Key("object").String("response");
    json->Key("created_at").Int(head_.created).Key("status").String(status);
    json->Key("model").String(head_.model);
    WriteOutcome(status, json);
    json->Key("output").BeginArray();
    for (const Item& item : items_) {
      if (status == "in_progress") break;
      const bool cut = status == "incomplete" && &item == &items_.back();
      WriteItem(item, cut ? "incomplete" : "completed", json, false);
    }
    json->EndArray();
    json->Key("usage");
    WriteUsage(usage, json);
    for (const auto& [key, value] : echo_) json->Key(key).Raw(value);
    json->EndObject();
  }

  void WriteOutcome(std::string_view status, JsonWriter* json) const {
    json->Key("error");
    if (status == "failed") {
      json->BeginObject().Key("code").String("server_error");
      json->Key("message").String(base::ReplaceInvalidUtf8(error_.message)).EndObject();
    } else {
      json->Null();
    }
    json->Key("incomplete_details");
    if (status == "incomplete") {
      json->BeginObject().Key("reason").String("max_output_tokens").EndObject();
    } else {
      json->Null();
    }
  }

  static void WriteUsage(const AnswerUsage* usage, JsonWriter* json) {
    if (usage == nullptr) {
      json->Null();
      return;
    }
    json->BeginObject().Key("input_tokens").Int(usage->prompt_tokens);
    json->Key("input_tokens_details").BeginObject();
    json->Key("cached_tokens").Int(usage->cached_tokens).EndObject();
    json->Key("output_tokens").Int(usage->completion_tokens);
    json->Key("output_tokens_details").BeginObject();
    json->Key("reasoning_tokens").Int(usage->reasoning_tokens).EndObject();
    json->Key("total_tokens").Int(usage->prompt_tokens + usage->completion_tokens).EndObject();
  }

  std::string ResponseEvent(std::string_view type, std::string_view status,
                            const AnswerUsage* usage) {
    JsonWriter json = Event(type);
    json.Key("response");
    WriteResponse(status, usage, &json);
    json.EndObject();
    return NamedEvent(type, json.Take());
  }

  const AnswerHead head_;
  const ResponseEcho echo_;
  std::vector<Item> items_;
  bool open_ = false;  // the last item is being written
  int64_t sequence_ = 0;
  std::string finish_ = "stop";
  ApiError error_;
};

}  // namespace

std::unique_ptr<ChatWriter> NewResponsesWriter(AnswerHead head, ResponseEcho echo) {
  return std::make_unique<ResponsesWriter>(std::move(head), std::move(echo));
}

}  // namespace inhouse::model_server
