#include "model-server/api/prompt_logprobs.h"

#include <algorithm>

#include "base/utf8.h"
#include "model-server/api/json_writer.h"

namespace inhouse::model_server {

std::string PromptLogprobsJson(const std::vector<std::vector<PromptCandidate>>& places) {
  JsonWriter json;
  json.BeginArray();
  for (const auto& candidates : places) {
    if (candidates.empty()) {
      json.Null();
      continue;
    }
    json.BeginObject();
    for (const PromptCandidate& candidate : candidates) {
      json.Key(std::to_string(candidate.id)).BeginObject();
      json.Key("logprob").Float(std::max(candidate.logprob, -9999.0F));  // JSON has no infinity
      json.Key("rank");
      if (candidate.rank > 0) {
        json.Int(candidate.rank);
      } else {
        json.Null();
      }
      json.Key("decoded_token").String(base::ReplaceInvalidUtf8(candidate.token)).EndObject();
    }
    json.EndObject();
  }
  json.EndArray();
  return json.Take();
}

}  // namespace inhouse::model_server
