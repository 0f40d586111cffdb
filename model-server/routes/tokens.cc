#include "model-server/routes/tokens.h"

#include <utility>

#include "model-server/api/json_limits.h"
#include "model-server/api/json_writer.h"
#include "model-server/routes/chat.h"
#include "model-server/routes/submit.h"

namespace inhouse::model_server {
namespace {

// The name of the model may be left out, as in llama-server.
std::optional<ApiError> ReadModel(const ServedModel& served, Fields* fields) {
  std::string model = served.names.front();
  fields->Text("model", &model);
  if (!fields->ok()) return fields->TakeError();
  GenerateParams adapter;  // adapters share the model's tokens
  return CheckModel(served, model, &adapter);
}

std::optional<ApiError> Tokenize(const ServedModel& model, const std::string& text,
                                 std::vector<engine::TokenId>* out) {
  Json body;
  if (auto error = ParseBody(text, {}, &body)) return error;
  Fields fields(body);
  if (auto error = ReadModel(model, &fields)) return error;
  const engine::Tokenizer& tokenizer = *model.engine->tokenizer();
  if (const Json* messages = fields.Find("messages")) {
    ChatRequest chat;
    ReadMessages(*messages, &fields, &chat.messages);
    fields.Bool("add_generation_prompt", &chat.options.add_generation_prompt);
    if (auto error = fields.TakeError()) return error;
    std::string prompt;
    if (auto error = RenderChat(model, &chat, &prompt)) return error;
    *out = tokenizer.Encode(prompt);
    return std::nullopt;
  }
  // vLLM: prompt, special tokens added; llama-server: content, not added.
  std::optional<std::string> prompt;
  const bool is_prompt = fields.Find("prompt") != nullptr;
  bool add_special = is_prompt;
  fields.Text(is_prompt ? "prompt" : "content", &prompt);
  fields.Bool(is_prompt ? "add_special_tokens" : "add_special", &add_special);
  if (!prompt) fields.FailRequired("prompt");
  if (auto error = fields.TakeError()) return error;
  *out = tokenizer.Encode(*prompt, {.add_special_tokens = add_special});
  return std::nullopt;
}

std::optional<ApiError> Detokenize(const ServedModel& model, const std::string& text,
                                   std::string* out) {
  Json body;
  if (auto error = ParseBody(text, {}, &body)) return error;
  Fields fields(body);
  if (auto error = ReadModel(model, &fields)) return error;
  const Json* tokens = fields.Find("tokens");
  if (tokens == nullptr) fields.FailRequired("tokens");
  if (auto error = fields.TakeError()) return error;
  std::vector<engine::TokenId> ids;
  if (!tokens->is_array()) {
    fields.FailType("tokens", "an array of integers", *tokens);
    return fields.TakeError();
  }
  for (const Json& id : *tokens) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
        id.get<int64_t>() >= model.bounds.vocab_size) {
      return InvalidRequest("tokens", "invalid_value",
                            "Invalid 'tokens': expected token ids of this model.");
    }
    ids.push_back(id.get<engine::TokenId>());
  }
  *out = model.engine->tokenizer()->Decode(ids);
  return std::nullopt;
}

}  // namespace

void RunTokenize(const std::shared_ptr<const Request>& request, GenerationSetup setup) {
  std::vector<engine::TokenId> ids;
  if (auto error = Tokenize(*setup.model, request->body, &ids)) {
    return PostError(setup, *std::move(error));
  }
  JsonWriter json;
  json.BeginObject().Key("count").Int(static_cast<int64_t>(ids.size()));
  json.Key("max_model_len").Int(setup.model->engine->info().context_tokens);
  json.Key("tokens").BeginArray();
  for (const engine::TokenId id : ids) json.Int(id);
  json.EndArray().EndObject();
  PostJson(setup, json.Take());
}

void RunDetokenize(const std::shared_ptr<const Request>& request, GenerationSetup setup) {
  std::string text;
  if (auto error = Detokenize(*setup.model, request->body, &text)) {
    return PostError(setup, *std::move(error));
  }
  JsonWriter json;
  json.BeginObject().Key("prompt").String(text);  // vLLM
  json.Key("content").String(text).EndObject();   // llama-server
  PostJson(setup, json.Take());
}

}  // namespace inhouse::model_server
