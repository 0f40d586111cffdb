// Any body: a typed request within its bounds, or a 400 that can be printed.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/utf8.h"
#include "model-server/api/chat_request.h"
#include "model-server/api/completion_request.h"
#include "model-server/api/json_limits.h"

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
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
  return 0;
}
