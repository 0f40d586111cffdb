// The parameters that chat and text completions share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/include/engine/engine.h"
#include "model-server/api/fields.h"

namespace inhouse::model_server {

// What a request is read against: the model's own defaults and bounds.
struct ModelBounds {
  engine::SamplingOptions sampling = {};  // where the client says nothing
  int64_t vocab_size = 0;
  int64_t choices_max = 128;  // prompts x n of one request
};

struct GenerateParams {
  engine::SamplingOptions sampling = {};
  std::optional<int64_t> max_tokens = {};
  int64_t min_tokens = 0;
  std::vector<std::string> stop = {};
  std::vector<engine::TokenId> stop_ids = {};
  bool ignore_eos = false;
  bool include_stop = false;
  bool skip_special_tokens = true;
  int64_t n = 1;
  bool stream = false;
  bool include_usage = false;        // a last chunk with the usage
  engine::GrammarSpec grammar = {};  // what the answer must look like
};

inline constexpr int64_t kChoicesOfOnePromptMax = 16;
inline constexpr size_t kStopStringsMax = 16;  // OpenAI allows 4, DeepSeek 16
inline constexpr size_t kStopStringBytesMax = 1024;

// Reads them into `out`; errors are kept by `fields`.
void ReadGenerateParams(const ModelBounds& bounds, Fields* fields, GenerateParams* out);

}  // namespace inhouse::model_server
