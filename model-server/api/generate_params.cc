#include "model-server/api/generate_params.h"

#include <charconv>
#include <limits>
#include <utility>

#include "fmt/format.h"
#include "model-server/api/response_format.h"

namespace inhouse::model_server {
namespace {

constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();

void ReadSampling(Fields* fields, engine::SamplingOptions* out) {
  fields->Float("temperature", {.min = 0, .max = 2}, &out->temperature);
  fields->Float("top_p", {.min = 0, .max = 1, .min_excluded = true}, &out->top_p);
  fields->Float("min_p", {.min = 0, .max = 1}, &out->min_p);
  fields->Float("presence_penalty", {.min = -2, .max = 2}, &out->presence_penalty);
  fields->Float("frequency_penalty", {.min = -2, .max = 2}, &out->frequency_penalty);
  fields->Float("repetition_penalty", {.min = 0, .max = 10, .min_excluded = true},
                &out->repetition_penalty);
  int64_t top_k = out->top_k;
  fields->Int("top_k", -1, std::numeric_limits<int32_t>::max(), &top_k);  // -1 = off, as in vLLM
  out->top_k = top_k < 0 ? 0 : static_cast<int>(top_k);
  std::optional<int64_t> seed;
  fields->Int("seed", std::numeric_limits<int64_t>::min(), kInt64Max, &seed);
  if (seed) out->seed = static_cast<uint64_t>(*seed);
}

void ReadLogitBias(int64_t vocab_size, Fields* fields,
                   std::vector<std::pair<engine::TokenId, float>>* out) {
  const Json* bias = fields->Find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object()) return fields->FailType("logit_bias", "an object", *bias);
  for (const auto& [key, value] : bias->items()) {
    int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= vocab_size) {
      return fields->Fail(InvalidRequest(
          "logit_bias", "invalid_value",
          fmt::format("Invalid key in 'logit_bias': '{}'. Expected a token id from 0 to {}.",
                      key.substr(0, 40), vocab_size - 1)));
    }
    if (!value.is_number() || !(value.get<double>() >= -100 && value.get<double>() <= 100)) {
      return fields->Fail(InvalidRequest(
          "logit_bias", "invalid_value",
          fmt::format("Invalid 'logit_bias' of token {}: expected a number from -100 to 100.",
                      id)));
    }
    out->emplace_back(static_cast<engine::TokenId>(id), value.get<float>());
  }
}

bool IsStopString(const Json& value) {
  return value.is_string() && !value.get_ref<const std::string&>().empty() &&
         value.get_ref<const std::string&>().size() <= kStopStringBytesMax;
}

void ReadStop(Fields* fields, std::vector<std::string>* out) {
  const Json* stop = fields->Find("stop");
  if (stop == nullptr) return;
  if (!stop->is_string() && !stop->is_array()) {
    return fields->FailType("stop", "a string or an array of strings", *stop);
  }
  const Json list = stop->is_array() ? *stop : Json::array({*stop});
  if (list.size() > kStopStringsMax) {
    return fields->Fail(InvalidRequest(
        "stop", "array_above_max_length",
        fmt::format("Invalid 'stop': array too long. Expected at most {} strings, but got {}.",
                    kStopStringsMax, list.size())));
  }
  for (size_t i = 0; i < list.size(); ++i) {
    if (!IsStopString(list[i])) {
      const std::string param = stop->is_array() ? fmt::format("stop[{}]", i) : "stop";
      return fields->Fail(InvalidRequest(
          param, "invalid_value",
          fmt::format("Invalid '{}': expected a string of 1 to {} bytes, but got {} instead.",
                      param, kStopStringBytesMax,
                      list[i].is_string() ? "one of another length" : JsonTypeName(list[i]))));
    }
    out->push_back(list[i].get<std::string>());
  }
}

void ReadStopIds(int64_t vocab_size, Fields* fields, std::vector<engine::TokenId>* out) {
  const Json* ids = fields->Find("stop_token_ids");
  if (ids == nullptr) return;
  if (!ids->is_array()) return fields->FailType("stop_token_ids", "an array of integers", *ids);
  for (const Json& id : *ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size ||
        out->size() >= 1024) {
      return fields->Fail(InvalidRequest(
          "stop_token_ids", "invalid_value",
          fmt::format("Invalid 'stop_token_ids': expected at most 1024 token ids from 0 to {}.",
                      vocab_size - 1)));
    }
    out->push_back(id.get<engine::TokenId>());
  }
}

void ReadStreamOptions(Fields* fields, GenerateParams* out) {
  fields->Bool("stream", &out->stream);
  const Json* options = fields->Find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) return fields->FailType("stream_options", "an object", *options);
  if (!out->stream) {
    return fields->Fail(
        InvalidRequest("stream_options", "invalid_value",
                       "The 'stream_options' parameter is only allowed when 'stream' is enabled."));
  }
  Fields inner(*options, "stream_options");
  inner.Bool("include_usage", &out->include_usage);
  if (auto error = inner.TakeError()) fields->Fail(*std::move(error));
}

// What would change the answer and cannot be honoured yet is refused; silence would be a wrong
// answer.
void RefuseUnsupported(Fields* fields) {
  if (fields->Find("chat_template") != nullptr) {
    fields->Fail(InvalidRequest(
        "chat_template", "unsupported_parameter",
        "Unsupported parameter: 'chat_template'. A template is a program; this server only runs "
        "the model's own. Use 'chat_template_kwargs' to set its variables."));
  }
}

}  // namespace

void ReadGenerateParams(const ModelBounds& bounds, Fields* fields, GenerateParams* out) {
  out->sampling = bounds.sampling;
  ReadSampling(fields, &out->sampling);
  ReadLogitBias(bounds.vocab_size, fields, &out->sampling.logit_bias);
  ReadStop(fields, &out->stop);
  ReadStopIds(bounds.vocab_size, fields, &out->stop_ids);
  ReadStreamOptions(fields, out);
  fields->Int("n", 1, kChoicesOfOnePromptMax, &out->n);
  fields->Int("min_tokens", 0, kInt64Max, &out->min_tokens);
  fields->Bool("ignore_eos", &out->ignore_eos);
  fields->Bool("include_stop_str_in_output", &out->include_stop);
  fields->Bool("skip_special_tokens", &out->skip_special_tokens);
  ReadGrammar(fields, &out->grammar);
  RefuseUnsupported(fields);
}

}  // namespace inhouse::model_server
