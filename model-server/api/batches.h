// /v1/files and /v1/batches: typed values <-> JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model-server/api/fields.h"
#include "model-server/batches/store.h"

namespace inhouse::model_server {

inline constexpr size_t kBatchLinesMax = 50'000;  // OpenAI's limit
inline constexpr size_t kCustomIdBytesMax = 512;

std::string FileJson(const StoredFile& file);
std::string DeletedFileJson(const std::string& id);
std::string FileListJson(const std::vector<StoredFile>& files, bool has_more);
std::string BatchJson(const Batch& batch);
std::string BatchListJson(const std::vector<Batch>& batches, bool has_more);

// POST /v1/batches.
std::optional<ApiError> ReadBatchRequest(const Json& body, Batch* out);

// One line of a batch's input.
struct BatchLine {
  std::string custom_id = {};
  Json body = {};
};

// What is wrong with a line: a code and a message of the batch's `errors`.
struct LineError {
  std::string code = {};
  std::string message = {};
  int64_t line = 0;  // from 1, as editors count
};
std::optional<LineError> ReadBatchLine(std::string_view text, std::string_view endpoint,
                                       BatchLine* out);
std::string LineErrorsJson(const std::vector<LineError>& errors);

// One line of an output or error file. A status of 0 means that the line was not run; `code` and
// `message` say why.
std::string ResultLine(const std::string& id, const LineResult& result, std::string_view code,
                       std::string_view message);

}  // namespace inhouse::model_server
