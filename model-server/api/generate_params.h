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
  int priority_min = 0;       // below: only where the operator lets clients pass each other
  int64_t choices_max = 128;  // prompts x n of one request
};

struct GenerateParams {
  std::string adapter = {};              // "": the base model
  std::string adapter_fingerprint = {};  // for the answer's system_fingerprint
  engine::SamplingOptions sampling = {};
  std::optional<int64_t> max_tokens = {};
  int64_t min_tokens = 0;
  std::vector<std::string> stop = {};
  std::vector<engine::TokenId> stop_ids = {};
  bool ignore_eos = false;
  bool include_stop = false;
  bool skip_special_tokens = true;
  int priority = 0;             // lower numbers first
  std::string cache_salt = {};  // separates the request's prefixes from others of its tenant
  std::vector<engine::TokenId> allowed_ids = {};  // none: all
  std::vector<std::string> bad_words = {};
  std::optional<int64_t> thinking_budget = {};  // tokens of reasoning at most
  std::optional<int64_t> prompt_logprobs = {};  // alternatives for each token of the prompt
  std::string request_id = {};                  // "": the answer gets an id of ours
  int64_t n = 1;
  bool stream = false;
  bool include_usage = false;        // a last chunk with the usage
  engine::GrammarSpec grammar = {};  // what the answer must look like
};

inline constexpr int64_t kChoicesOfOnePromptMax = 16;
inline constexpr size_t kCacheSaltBytesMax = 1024;
inline constexpr size_t kStopStringsMax = 16;  // OpenAI allows 4, DeepSeek 16
inline constexpr size_t kStopStringBytesMax = 1024;

// Reads them into `out`; errors are kept by `fields`.
void ReadGenerateParams(const ModelBounds& bounds, Fields* fields, GenerateParams* out);

}  // namespace inhouse::model_server
