// A recorded answer: what was asked of the engine, what came out, and what computed it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/include/engine/engine.h"

namespace inhouse::model_server {

// What came out of the engine for one sequence, piece by piece.
struct SequenceOutput {
  std::vector<engine::TokenId> ids = {};
  std::string text = {};
  std::vector<engine::TokenLogprob> logprobs = {};
  std::vector<engine::TokenLogprob> prompt_logprobs = {};
  std::string embedding_sha256 = {};  // of its floats, little-endian; "" = none was asked for
  std::string finish_reason = {};     // "stop" or "length"
  std::string stop_string = {};

  void Append(const engine::TokenEvent& event);
};

// "" if both are the same to the bit, else the first difference, in words.
std::string FirstDifference(const SequenceOutput& now, const SequenceOutput& recorded);

// One sequence. Of the request, what decides about its output: without priority, tenant and salt,
// with a seed.
struct SequenceRecord {
  engine::GenerateRequest request = {};
  SequenceOutput output = {};
};

// What the same bytes need: the model, and what it is computed by.
struct RecordedEngine {
  std::string version = {};
  std::string commit = {};
  std::string build = {};  // base::BuildId
  std::string isa = {};
  std::string model_path = {};
  std::string model_sha256 = {};  // engine::ModelInfo::digest
  std::string kv_type = {};
  int activation_bits = 16;
  engine::AdapterSource adapter = {};  // its name in the requests; none if that is empty
  std::string adapter_sha256 = {};     // engine::AdapterInfo::fingerprint
};

struct AnswerRecord {
  std::string id = {};          // "chatcmpl-..."
  std::string request_id = {};  // x-request-id
  std::string model = {};       // as the client called it
  int64_t created = 0;          // Unix seconds
  RecordedEngine engine = {};
  std::vector<SequenceRecord> sequences = {};  // the answer's choices
};

std::string RecordJson(const AnswerRecord& record);

// InvalidArgument that names the file and the field.
absl::StatusOr<AnswerRecord> ParseRecord(const std::string& path, std::string_view text);

}  // namespace inhouse::model_server
