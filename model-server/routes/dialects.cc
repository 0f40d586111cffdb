#include "model-server/routes/dialects.h"

#include <utility>

#include "model-server/api/json_limits.h"
#include "model-server/api/messages_request.h"
#include "model-server/api/messages_writer.h"
#include "model-server/api/responses_request.h"
#include "model-server/api/responses_writer.h"
#include "model-server/routes/chat.h"
#include "model-server/routes/submit.h"

namespace inhouse::model_server {

void RunMessages(const std::shared_ptr<const Request>& request, GenerationSetup setup) {
  const ModelBounds& bounds = setup.model->bounds;
  Json body;
  ChatRequest chat;
  auto error = ParseBody(request->body, {}, &body);
  if (!error) error = ReadMessagesRequest(body, bounds, /*needs_max_tokens=*/true, &chat);
  if (!error) error = CheckModel(*setup.model, chat.model, &chat.params);
  if (error) return PostError(setup, *std::move(error));
  setup.head = setup.model->NewHead("msg_", chat.model, chat.params);
  auto writer = NewMessagesWriter(setup.head);
  StartChat(std::move(chat), std::move(writer), std::move(setup));
}

void RunCountTokens(const std::shared_ptr<const Request>& request, GenerationSetup setup) {
  const ServedModel& model = *setup.model;
  Json body;
  ChatRequest chat;
  std::string prompt;
  auto error = ParseBody(request->body, {}, &body);
  if (!error) {
    error = ReadMessagesRequest(body, model.bounds, /*needs_max_tokens=*/false, &chat);
  }
  if (!error) error = CheckModel(model, chat.model, &chat.params);
  if (!error) error = RenderChat(model, &chat, &prompt);
  if (error) return PostError(setup, *std::move(error));
  const size_t tokens = model.engine->tokenizer()->Encode(prompt).size();
  PostJson(setup, TokenCountAnswer(static_cast<int64_t>(tokens)));
}

void RunResponses(const std::shared_ptr<const Request>& request, GenerationSetup setup) {
  const ModelBounds& bounds = setup.model->bounds;
  Json body;
  ChatRequest chat;
  ResponseEcho echo;
  auto error = ParseBody(request->body, {}, &body);
  if (!error) error = ReadResponsesRequest(body, bounds, &chat, &echo);
  if (!error) error = CheckModel(*setup.model, chat.model, &chat.params);
  if (error) return PostError(setup, *std::move(error));
  setup.head = setup.model->NewHead("resp_", chat.model, chat.params);
  auto writer = NewResponsesWriter(setup.head, std::move(echo));
  StartChat(std::move(chat), std::move(writer), std::move(setup));
}

}  // namespace inhouse::model_server
