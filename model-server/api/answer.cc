#include "model-server/api/answer.h"

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

// JSON has no infinity; OpenAI and vLLM write this for "never".
float Finite(float logprob) { return std::max(logprob, -9999.0F); }

// Text completions name a token that is not whole characters by its bytes, so that two of them do
// not become one key.
std::string TokenKey(const std::string& token) {
  if (base::IsValidUtf8(token)) return token;
  std::string out = "bytes:";
  for (const char c : token) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return out;
}

void WriteHead(const AnswerHead& head, std::string_view object, JsonWriter* json) {
  json->BeginObject();
  json->Key("id").String(head.id);
  json->Key("object").String(object);
  json->Key("created").Int(head.created);
  json->Key("model").String(head.model);
  json->Key("system_fingerprint").String(head.fingerprint);
}

void WriteUsage(const AnswerUsage& usage, JsonWriter* json) {
  json->Key("usage").BeginObject();
  json->Key("prompt_tokens").Int(usage.prompt_tokens);
  json->Key("completion_tokens").Int(usage.completion_tokens);
  json->Key("total_tokens").Int(usage.prompt_tokens + usage.completion_tokens);
  json->Key("prompt_tokens_details").BeginObject();
  json->Key("cached_tokens").Int(usage.cached_tokens).EndObject();
  json->Key("completion_tokens_details").BeginObject();
  json->Key("reasoning_tokens").Int(usage.reasoning_tokens).EndObject();
  // DeepSeek's own names for the same.
  json->Key("prompt_cache_hit_tokens").Int(usage.cached_tokens);
  json->Key("prompt_cache_miss_tokens").Int(usage.prompt_tokens - usage.cached_tokens);
  json->EndObject();
}

void WriteFinish(std::string_view reason, JsonWriter* json) {
  json->Key("finish_reason");
  if (reason.empty()) {
    json->Null();
  } else {
    json->String(reason);
  }
}

void WriteChatToken(const std::string& token, float logprob, JsonWriter* json) {
  json->Key("token").String(base::ReplaceInvalidUtf8(token));
  json->Key("bytes").BeginArray();
  for (const char c : token) json->Int(static_cast<unsigned char>(c));
  json->EndArray();
  json->Key("logprob").Float(Finite(logprob));
}

void WriteChatLogprobs(const std::vector<TokenScore>* scores, JsonWriter* json) {
  json->Key("logprobs");
  if (scores == nullptr) {
    json->Null();
    return;
  }
  json->BeginObject().Key("content");
  WriteTokenScores(*scores, json);
  json->Key("refusal").Null().EndObject();
}

// `first_index` >= 0: deltas, which are numbered.
void WriteToolCalls(const std::vector<engine::ToolCall>& calls, int64_t first_index,
                    JsonWriter* json) {
  json->Key("tool_calls").BeginArray();
  for (size_t i = 0; i < calls.size(); ++i) {
    json->BeginObject();
    if (first_index >= 0) json->Key("index").Int(first_index + static_cast<int64_t>(i));
    json->Key("id").String(calls[i].id);
    json->Key("type").String("function");
    json->Key("function").BeginObject();
    json->Key("name").String(calls[i].name);
    json->Key("arguments").String(calls[i].arguments);
    json->EndObject().EndObject();
  }
  json->EndArray();
}

void WriteMessage(const ChatChoice& choice, JsonWriter* json) {
  json->Key("message").BeginObject();
  json->Key("role").String("assistant");
  json->Key("content");
  if (choice.content.empty() && !choice.tool_calls.empty()) {
    json->Null();
  } else {
    json->String(choice.content);
  }
  if (choice.reasoning) json->Key("reasoning_content").String(*choice.reasoning);
  json->Key("refusal").Null();
  if (!choice.tool_calls.empty()) WriteToolCalls(choice.tool_calls, -1, json);
  json->EndObject();
}

void WriteTop(const TokenScore& score, JsonWriter* json) {
  if (std::isnan(score.logprob)) {
    json->Null();
    return;
  }
  json->BeginObject();
  bool has_token = false;
  std::vector<std::string> keys;  // a JSON object names a key once
  for (const auto& [token, logprob] : score.top) {
    std::string key = TokenKey(token);
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    has_token = has_token || token == score.token;
    json->Key(key).Float(Finite(logprob));
    keys.push_back(std::move(key));
  }
  if (!has_token) json->Key(TokenKey(score.token)).Float(Finite(score.logprob));
  json->EndObject();
}

void WriteTextLogprobs(const TextChoice& choice, JsonWriter* json) {
  json->Key("logprobs");
  if (!choice.logprobs) {
    json->Null();
    return;
  }
  json->BeginObject().Key("tokens").BeginArray();
  for (const TokenScore& score : *choice.logprobs) json->String(TokenKey(score.token));
  json->EndArray().Key("token_logprobs").BeginArray();
  for (const TokenScore& score : *choice.logprobs) {
    if (std::isnan(score.logprob)) {
      json->Null();
    } else {
      json->Float(Finite(score.logprob));
    }
  }
  json->EndArray().Key("top_logprobs").BeginArray();
  for (const TokenScore& score : *choice.logprobs) WriteTop(score, json);
  json->EndArray().Key("text_offset").BeginArray();
  int64_t offset = choice.text_offset;
  for (const TokenScore& score : *choice.logprobs) {
    json->Int(offset);
    if (score.in_text) offset += CharacterCount(score.token);
  }
  json->EndArray().EndObject();
}

void WriteTextChoice(const TextChoice& choice, JsonWriter* json) {
  json->BeginObject();
  json->Key("index").Int(choice.index);
  json->Key("text").String(choice.text);
  WriteTextLogprobs(choice, json);
  if (!choice.prompt_logprobs.empty()) json->Key("prompt_logprobs").Raw(choice.prompt_logprobs);
  WriteFinish(choice.finish_reason, json);
  json->EndObject();
}

std::string Chunk(JsonWriter* json, bool with_usage) {
  json->EndArray();
  if (with_usage) json->Key("usage").Null();
  json->EndObject();
  return SseEvent(json->Take());
}

}  // namespace

int64_t CharacterCount(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

void WriteTokenScores(const std::vector<TokenScore>& scores, JsonWriter* json) {
  json->BeginArray();
  for (const TokenScore& score : scores) {
    json->BeginObject();
    WriteChatToken(score.token, score.logprob, json);
    json->Key("top_logprobs").BeginArray();
    for (const auto& [token, logprob] : score.top) {
      json->BeginObject();
      WriteChatToken(token, logprob, json);
      json->EndObject();
    }
    json->EndArray().EndObject();
  }
  json->EndArray();
}

std::string SseEvent(std::string_view data) { return fmt::format("data: {}\n\n", data); }

std::string ChatAnswer(const AnswerHead& head, const std::vector<ChatChoice>& choices,
                       const AnswerUsage& usage) {
  JsonWriter json;
  WriteHead(head, "chat.completion", &json);
  json.Key("choices").BeginArray();
  for (const ChatChoice& choice : choices) {
    json.BeginObject().Key("index").Int(choice.index);
    WriteMessage(choice, &json);
    WriteChatLogprobs(choice.logprobs ? &*choice.logprobs : nullptr, &json);
    WriteFinish(choice.finish_reason, &json);
    json.EndObject();
  }
  json.EndArray();
  const std::string& prompt_logprobs = choices.front().prompt_logprobs;
  if (!prompt_logprobs.empty()) json.Key("prompt_logprobs").Raw(prompt_logprobs);
  WriteUsage(usage, &json);
  json.EndObject();
  return json.Take();
}

std::string ChatChunk(const AnswerHead& head, const ChatPiece& piece, bool with_usage) {
  JsonWriter json;
  WriteHead(head, kChatChunkObject, &json);
  json.Key("choices").BeginArray().BeginObject();
  json.Key("index").Int(piece.index);
  json.Key("delta").BeginObject();
  if (piece.first) json.Key("role").String("assistant");
  if (!piece.reasoning.empty()) json.Key("reasoning_content").String(piece.reasoning);
  if (piece.first || !piece.content.empty()) json.Key("content").String(piece.content);
  if (piece.tool_calls != nullptr && !piece.tool_calls->empty()) {
    WriteToolCalls(*piece.tool_calls, piece.first_tool_index, &json);
  } else if (!piece.arguments.empty()) {
    json.Key("tool_calls").BeginArray().BeginObject().Key("index").Int(piece.first_tool_index);
    json.Key("function").BeginObject().Key("arguments").String(piece.arguments);
    json.EndObject().EndObject().EndArray();
  }
  json.EndObject();
  WriteChatLogprobs(piece.logprobs, &json);
  WriteFinish(piece.finish_reason, &json);
  json.EndObject();
  return Chunk(&json, with_usage);
}

std::string TextAnswer(const AnswerHead& head, const std::vector<TextChoice>& choices,
                       const AnswerUsage& usage) {
  JsonWriter json;
  WriteHead(head, kTextObject, &json);
  json.Key("choices").BeginArray();
  for (const TextChoice& choice : choices) WriteTextChoice(choice, &json);
  json.EndArray();
  WriteUsage(usage, &json);
  json.EndObject();
  return json.Take();
}

std::string TextChunk(const AnswerHead& head, const TextChoice& choice, bool with_usage) {
  JsonWriter json;
  WriteHead(head, kTextObject, &json);
  json.Key("choices").BeginArray();
  WriteTextChoice(choice, &json);
  return Chunk(&json, with_usage);
}

std::string UsageChunk(const AnswerHead& head, std::string_view object, const AnswerUsage& usage) {
  JsonWriter json;
  WriteHead(head, object, &json);
  json.Key("choices").BeginArray().EndArray();
  WriteUsage(usage, &json);
  json.EndObject();
  return SseEvent(json.Take());
}

}  // namespace inhouse::model_server
