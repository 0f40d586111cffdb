#include "model-server/api/embeddings.h"

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "model-server/api/json_writer.h"

namespace inhouse::model_server {
namespace {

static_assert(std::endian::native == std::endian::little, "clients expect little-endian floats");

void ReadInputs(int64_t vocab_size, Fields* fields, EmbeddingRequest* out) {
  const Json* input = fields->Find("input");
  if (input != nullptr && input->is_array() && !input->empty() && !input->front().is_number() &&
      input->size() > kEmbeddingInputsMax) {
    return fields->Fail(InvalidRequest(
        "input", "array_above_max_length",
        fmt::format("Invalid 'input': array too long. Expected at most {} texts, but got {}.",
                    kEmbeddingInputsMax, input->size())));
  }
  ReadPrompts("input", vocab_size, fields, &out->inputs);
}

void ReadEncoding(Fields* fields, bool* base64) {
  std::string encoding = "float";
  fields->Text("encoding_format", &encoding);
  if (encoding != "float" && encoding != "base64") {
    fields->Fail(InvalidRequest("encoding_format", "invalid_value",
                                fmt::format("Invalid 'encoding_format': '{}'. Supported values "
                                            "are: 'float' and 'base64'.",
                                            encoding.substr(0, 40))));
  }
  *base64 = encoding == "base64";
}

std::string Base64(const std::vector<float>& vector) {
  return absl::Base64Escape(absl::string_view(reinterpret_cast<const char*>(vector.data()),
                                              vector.size() * sizeof(float)));
}

}  // namespace

ApiError ForeignIds(std::string param, std::string_view what) {
  return InvalidRequest(
      param, "invalid_token_ids",
      fmt::format("Invalid '{}': {}. They seem to come from another model's tokenizer. Send text, "
                  "or ids of this server's /tokenize. LangChain's OpenAIEmbeddings sends ids of "
                  "OpenAI's tokenizer unless it is made with check_embedding_ctx_length=False.",
                  param, what));
}

std::optional<ApiError> ReadEmbeddingRequest(const Json& body, int64_t vocab_size,
                                             int64_t hidden_size, EmbeddingRequest* out) {
  Fields fields(body);
  if (fields.Find("model") == nullptr) fields.FailRequired("model");
  fields.Text("model", &out->model);
  ReadInputs(vocab_size, &fields, out);
  ReadEncoding(&fields, &out->base64);
  fields.Int("dimensions", 1, hidden_size, &out->dimensions);
  fields.Bool("add_special_tokens", &out->add_special_tokens);
  int64_t priority = 0;
  fields.Int("priority", 0, std::numeric_limits<int32_t>::max(), &priority);
  out->priority = static_cast<int>(priority);
  std::optional<ApiError> error = fields.TakeError();
  if (error && error->code == kForeignIdCode) {
    return ForeignIds(error->param, fmt::format("expected token ids from 0 to {}", vocab_size - 1));
  }
  return error;
}

void Shorten(int64_t dimensions, std::vector<float>* vector) {
  vector->resize(std::min(static_cast<size_t>(dimensions), vector->size()));
  double squares = 0;
  for (const float x : *vector) squares += static_cast<double>(x) * static_cast<double>(x);
  if (squares == 0) return;
  const double scale = 1 / std::sqrt(squares);
  for (float& x : *vector) x = static_cast<float>(static_cast<double>(x) * scale);
}

std::string EmbeddingAnswer(const std::string& model, bool base64,
                            const std::vector<std::vector<float>>& vectors, int64_t prompt_tokens) {
  JsonWriter json;
  json.BeginObject().Key("object").String("list").Key("data").BeginArray();
  for (size_t i = 0; i < vectors.size(); ++i) {
    json.BeginObject().Key("object").String("embedding");
    json.Key("index").Int(static_cast<int64_t>(i)).Key("embedding");
    if (base64) {
      json.String(Base64(vectors[i]));
    } else {
      json.BeginArray();
      for (const float x : vectors[i]) json.Float(x);
      json.EndArray();
    }
    json.EndObject();
  }
  json.EndArray().Key("model").String(model);
  json.Key("usage").BeginObject().Key("prompt_tokens").Int(prompt_tokens);
  json.Key("total_tokens").Int(prompt_tokens).EndObject().EndObject();
  return json.Take();
}

}  // namespace inhouse::model_server
