// Any body: a typed request within its bounds, or a 400 that can be printed.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/utf8.h"
#include "model-server/api/batches.h"
#include "model-server/api/chat_request.h"
#include "model-server/api/completion_request.h"
#include "model-server/api/embeddings.h"
#include "model-server/api/json_limits.h"
#include "model-server/api/messages_request.h"
#include "model-server/api/responses_request.h"
#include "model-server/http/form.h"

namespace server = inhouse::model_server;

namespace {

void CheckError(const server::ApiError& error) {
  if (error.status != 400 || error.message.empty()) std::abort();
  if (!inhouse::base::IsValidUtf8(server::ErrorJson(error))) std::abort();
}

void CheckParams(const server::GenerateParams& params) {
  const auto& sampling = params.sampling;
  const bool good = sampling.temperature >= 0 && sampling.temperature <= 2 && sampling.top_p > 0 &&
                    sampling.top_p <= 1 && params.n >= 1 && params.n <= 16 &&
                    params.stop.size() <= 16 && params.max_tokens.value_or(0) >= 0;
  if (!good) std::abort();
}

// The same body as a request of the other APIs.
void ReadAsOthers(const server::Json& body, const server::ModelBounds& bounds) {
  server::ChatRequest message;
  if (auto error = server::ReadMessagesRequest(body, bounds, true, &message)) {
    CheckError(*error);
  } else {
    CheckParams(message.params);
  }
  server::ChatRequest response;
  server::ResponseEcho echo;
  if (auto error = server::ReadResponsesRequest(body, bounds, &response, &echo)) {
    CheckError(*error);
  } else {
    CheckParams(response.params);
  }
  server::EmbeddingRequest embedding;
  if (auto error = server::ReadEmbeddingRequest(body, bounds.vocab_size, 8, &embedding)) {
    CheckError(*error);
  }
  server::Batch batch;
  if (auto error = server::ReadBatchRequest(body, &batch)) CheckError(*error);
}

// Contents are views into the body.
void ReadForm(std::string_view text) {
  const auto form = server::ParseForm("multipart/form-data; boundary=b", text);
  if (!form) return;
  for (const server::FormPart& part : *form) {
    if (part.name.empty() || part.content.size() > text.size()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ReadForm(text);
  server::BatchLine line;
  server::ReadBatchLine(text, "/v1/completions", &line);
  server::Json body;
  if (auto error = server::ParseBody(text, {}, &body)) {
    CheckError(*error);
    return 0;
  }
  const server::ModelBounds bounds{.vocab_size = 100};
  server::ChatRequest chat;
  if (auto error = server::ReadChatRequest(body, bounds, &chat)) {
    CheckError(*error);
  } else {
    CheckParams(chat.params);
  }
  server::CompletionRequest completion;
  if (auto error = server::ReadCompletionRequest(body, bounds, &completion)) {
    CheckError(*error);
  } else {
    CheckParams(completion.params);
  }
  ReadAsOthers(body, bounds);
  return 0;
}
