#include "model-server/api/batches.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/utf8.h"
#include "fmt/format.h"
#include "model-server/api/json_limits.h"
#include "model-server/api/json_writer.h"

namespace inhouse::model_server {
namespace {

constexpr std::array<std::string_view, 4> kEndpoints = {"/v1/chat/completions", "/v1/completions",
                                                        "/v1/embeddings", "/v1/responses"};

void TextOrNull(std::string_view key, std::string_view text, JsonWriter* json) {
  json->Key(key);
  if (text.empty()) {
    json->Null();
  } else {
    json->String(text);
  }
}

void TimeOrNull(std::string_view key, int64_t time, JsonWriter* json) {
  json->Key(key);
  if (time == 0) {
    json->Null();
  } else {
    json->Int(time);
  }
}

void WriteFile(const StoredFile& file, JsonWriter* json) {
  json->BeginObject().Key("id").String(file.id).Key("object").String("file");
  json->Key("bytes").Int(file.bytes).Key("created_at").Int(file.created_at);
  TimeOrNull("expires_at", file.expires_at, json);
  json->Key("filename").String(file.filename).Key("purpose").String(file.purpose);
  json->Key("status").String("processed").Key("status_details").Null().EndObject();
}

void WriteBatch(const Batch& batch, JsonWriter* json) {
  const auto reached = [&batch](BatchStatus s) { return batch.reached[static_cast<int>(s)]; };
  json->BeginObject().Key("id").String(batch.id).Key("object").String("batch");
  json->Key("endpoint").String(batch.endpoint);
  json->Key("errors").Raw(batch.errors.empty() ? "null" : batch.errors);
  json->Key("input_file_id").String(batch.input_file);
  json->Key("completion_window").String("24h");
  json->Key("status").String(BatchStatusName(batch.status));
  TextOrNull("output_file_id", batch.output_file, json);
  TextOrNull("error_file_id", batch.error_file, json);
  json->Key("created_at").Int(reached(BatchStatus::kValidating));
  TimeOrNull("in_progress_at", reached(BatchStatus::kInProgress), json);
  json->Key("expires_at").Int(batch.expires_at);
  TimeOrNull("finalizing_at", reached(BatchStatus::kFinalizing), json);
  TimeOrNull("completed_at", reached(BatchStatus::kCompleted), json);
  TimeOrNull("failed_at", reached(BatchStatus::kFailed), json);
  TimeOrNull("expired_at", reached(BatchStatus::kExpired), json);
  TimeOrNull("cancelling_at", reached(BatchStatus::kCancelling), json);
  TimeOrNull("cancelled_at", reached(BatchStatus::kCancelled), json);
  json->Key("request_counts").BeginObject().Key("total").Int(batch.total);
  json->Key("completed").Int(batch.completed).Key("failed").Int(batch.failed).EndObject();
  json->Key("metadata").Raw(batch.metadata.empty() ? "null" : batch.metadata).EndObject();
}

template <typename Item, typename Write>
std::string List(const std::vector<Item>& items, bool has_more, Write write) {
  JsonWriter json;
  json.BeginObject().Key("object").String("list").Key("data").BeginArray();
  for (const Item& item : items) write(item, &json);
  json.EndArray();
  TextOrNull("first_id", items.empty() ? "" : items.front().id, &json);
  TextOrNull("last_id", items.empty() ? "" : items.back().id, &json);
  json.Key("has_more").Bool(has_more).EndObject();
  return json.Take();
}

void ReadMetadata(Fields* fields, std::string* out) {
  const Json* metadata = fields->Find("metadata");
  if (metadata == nullptr) return;
  if (!metadata->is_object()) return fields->FailType("metadata", "an object", *metadata);
  bool good = metadata->size() <= 16;
  for (const auto& [key, value] : metadata->items()) {
    good = good && key.size() <= 64 && value.is_string() &&
           value.get_ref<const std::string&>().size() <= 512;
  }
  if (!good) {
    return fields->Fail(InvalidRequest("metadata", "invalid_value",
                                       "Invalid 'metadata': expected at most 16 strings of at most "
                                       "512 bytes, with keys of at most 64."));
  }
  *out = metadata->dump();
}

}  // namespace

std::string FileJson(const StoredFile& file) {
  JsonWriter json;
  WriteFile(file, &json);
  return json.Take();
}

std::string DeletedFileJson(const std::string& id) {
  JsonWriter json;
  json.BeginObject().Key("id").String(id).Key("object").String("file");
  json.Key("deleted").Bool(true).EndObject();
  return json.Take();
}

std::string FileListJson(const std::vector<StoredFile>& files, bool has_more) {
  return List(files, has_more, WriteFile);
}

std::string BatchJson(const Batch& batch) {
  JsonWriter json;
  WriteBatch(batch, &json);
  return json.Take();
}

std::string BatchListJson(const std::vector<Batch>& batches, bool has_more) {
  return List(batches, has_more, WriteBatch);
}

std::optional<ApiError> ReadBatchRequest(const Json& body, Batch* out) {
  Fields fields(body);
  std::string window;
  for (const auto& [name, text] :
       {std::pair("input_file_id", &out->input_file), std::pair("endpoint", &out->endpoint),
        std::pair("completion_window", &window)}) {
    if (fields.ok() && fields.Find(name) == nullptr) fields.FailRequired(name);
    fields.Text(name, text);
  }
  const auto invalid = [&fields](const char* name, const std::string& value,
                                 const std::string& expected) {
    fields.Fail(InvalidRequest(
        name, "invalid_value",
        fmt::format("Invalid '{}': '{}'. Expected {}.", name, value.substr(0, 100), expected)));
  };
  if (fields.ok() &&
      std::find(kEndpoints.begin(), kEndpoints.end(), out->endpoint) == kEndpoints.end()) {
    invalid("endpoint", out->endpoint,
            "'/v1/chat/completions', '/v1/completions', '/v1/embeddings' or '/v1/responses'");
  }
  if (fields.ok() && window != "24h") invalid("completion_window", window, "'24h'");
  ReadMetadata(&fields, &out->metadata);
  return fields.TakeError();
}

std::optional<LineError> ReadBatchLine(std::string_view text, std::string_view endpoint,
                                       BatchLine* out) {
  const auto error = [](const char* code, std::string message) {
    return LineError{.code = code, .message = std::move(message)};
  };
  Json line;
  if (const auto bad = ParseBody(text, {}, &line)) {
    return error("invalid_json_line", "This line is not a JSON object: " + bad->message);
  }
  Fields fields(line);
  std::string method;
  std::string url;
  fields.Text("custom_id", &out->custom_id);
  fields.Text("method", &method);
  fields.Text("url", &url);
  const Json* body = fields.Find("body");
  if (body != nullptr && !body->is_object()) fields.FailType("body", "an object", *body);
  if (auto bad = fields.TakeError()) return error("invalid_request", bad->message);
  if (out->custom_id.empty() || out->custom_id.size() > kCustomIdBytesMax) {
    return error(
        "missing_required_parameter",
        fmt::format("Invalid 'custom_id': expected a string of 1 to {} bytes.", kCustomIdBytesMax));
  }
  if (method != "POST") return error("invalid_method", "Invalid 'method': expected 'POST'.");
  if (url != endpoint) {
    return error("invalid_url",
                 fmt::format("Invalid 'url': expected the batch's endpoint, '{}'.", endpoint));
  }
  if (body == nullptr) {
    return error("missing_required_parameter", "Missing required parameter: 'body'.");
  }
  out->body = *body;
  return std::nullopt;
}

std::string LineErrorsJson(const std::vector<LineError>& errors) {
  JsonWriter json;
  json.BeginObject().Key("object").String("list").Key("data").BeginArray();
  for (const LineError& error : errors) {
    json.BeginObject().Key("code").String(error.code);
    json.Key("line");
    if (error.line > 0) {
      json.Int(error.line);
    } else {
      json.Null();
    }
    json.Key("message").String(base::ReplaceInvalidUtf8(error.message));
    json.Key("param").Null().EndObject();
  }
  json.EndArray().EndObject();
  return json.Take();
}

std::string ResultLine(const std::string& id, const LineResult& result, std::string_view code,
                       std::string_view message) {
  JsonWriter json;
  json.BeginObject().Key("id").String(id).Key("custom_id").String(result.custom_id);
  json.Key("response");
  if (result.status == 0) {
    json.Null().Key("error").BeginObject().Key("code").String(code);
    json.Key("message").String(message).EndObject();
  } else {
    json.BeginObject().Key("status_code").Int(result.status);
    json.Key("request_id").String(result.request_id);
    json.Key("body").Raw(result.body).EndObject();
    json.Key("error").Null();
  }
  json.EndObject();
  return json.Take();
}

}  // namespace inhouse::model_server
