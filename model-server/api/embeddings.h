// POST /v1/embeddings: JSON -> typed request, vectors -> JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model-server/api/prompts.h"

namespace inhouse::model_server {

struct EmbeddingRequest {
  std::string model = {};
  std::vector<TextOrIds> inputs = {};
  bool base64 = false;                     // else arrays of numbers
  std::optional<int64_t> dimensions = {};  // so many first values, brought back to length 1
  bool add_special_tokens = true;
  int priority = 0;  // lower numbers are served first
};

inline constexpr size_t kEmbeddingInputsMax = 2048;  // OpenAI's limit

// The errors name the member. Ids outside the vocabulary belong to another model's tokenizer, and
// the error says how LangChain is told to send text.
std::optional<ApiError> ReadEmbeddingRequest(const Json& body, int64_t vocab_size,
                                             int64_t hidden_size, EmbeddingRequest* out);

// What a client is told whose ids are not of this model's tokenizer.
ApiError ForeignIds(std::string param, std::string_view what);

// The first `dimensions` values, divided by their length.
void Shorten(int64_t dimensions, std::vector<float>* vector);

std::string EmbeddingAnswer(const std::string& model, bool base64,
                            const std::vector<std::vector<float>>& vectors, int64_t prompt_tokens);

}  // namespace inhouse::model_server
