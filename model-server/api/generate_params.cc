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

// At most so many ids, or words, of one of vLLM's lists.
constexpr size_t kListMax = 1024;

void ReadIds(std::string_view name, int64_t vocab_size, Fields* fields,
             std::vector<engine::TokenId>* out) {
  const Json* ids = fields->Find(name);
  if (ids == nullptr) return;
  if (!ids->is_array()) return fields->FailType(name, "an array of integers", *ids);
  for (const Json& id : *ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size ||
        out->size() >= kListMax) {
      return fields->Fail(
          InvalidRequest(std::string(name), "invalid_value",
                         fmt::format("Invalid '{}': expected at most {} token ids from 0 to {}.",
                                     name, kListMax, vocab_size - 1)));
    }
    out->push_back(id.get<engine::TokenId>());
  }
}

void ReadAllowedIds(int64_t vocab_size, Fields* fields, std::vector<engine::TokenId>* out) {
  ReadIds("allowed_token_ids", vocab_size, fields, out);
  if (fields->Find("allowed_token_ids") != nullptr && out->empty()) {
    fields->Fail(InvalidRequest("allowed_token_ids", "empty_array",
                                "Invalid 'allowed_token_ids': empty array. Expected at least one "
                                "token id."));
  }
}

void ReadBadWords(Fields* fields, std::vector<std::string>* out) {
  const Json* words = fields->Find("bad_words");
  if (words == nullptr) return;
  if (!words->is_array()) return fields->FailType("bad_words", "an array of strings", *words);
  for (const Json& word : *words) {
    if (!IsStopString(word) || out->size() >= kListMax) {
      return fields->Fail(InvalidRequest(
          "bad_words", "invalid_value",
          fmt::format("Invalid 'bad_words': expected at most {} strings of 1 to {} bytes.",
                      kListMax, kStopStringBytesMax)));
    }
    out->push_back(word.get<std::string>());
  }
}

// It becomes a part of the answer's id.
void ReadRequestId(Fields* fields, std::string* out) {
  fields->Text("request_id", out);
  if (fields->ok() && !out->empty() && !IsHarmlessId(*out)) {
    fields->Fail(InvalidRequest("request_id", "invalid_value",
                                "Invalid 'request_id': expected 1 to 128 visible ASCII "
                                "characters."));
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

void ReadCacheSalt(Fields* fields, std::string* out) {
  std::optional<std::string> salt;
  fields->Text("cache_salt", &salt);
  if (!salt) return;
  if (salt->empty() || salt->size() > kCacheSaltBytesMax) {
    return fields->Fail(InvalidRequest("cache_salt", "invalid_value",
                                       fmt::format("Invalid 'cache_salt': expected a string of 1 "
                                                   "to {} bytes.",
                                                   kCacheSaltBytesMax)));
  }
  *out = *std::move(salt);
}

// A positive number lets others pass: anybody may be polite. A negative one passes others.
void ReadPriority(int priority_min, Fields* fields, int* out) {
  int64_t priority = 0;
  fields->Int("priority", std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max(),
              &priority);
  if (priority < priority_min) {
    return fields->Fail(InvalidRequest(
        "priority", "invalid_value",
        fmt::format("Invalid 'priority': {}. Expected 0 or a positive number (served later): this "
                    "server does not run with --scheduling-policy priority.",
                    priority)));
  }
  *out = static_cast<int>(priority);
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
  ReadIds("stop_token_ids", bounds.vocab_size, fields, &out->stop_ids);
  ReadAllowedIds(bounds.vocab_size, fields, &out->allowed_ids);
  ReadBadWords(fields, &out->bad_words);
  ReadRequestId(fields, &out->request_id);
  ReadStreamOptions(fields, out);
  fields->Int("n", 1, kChoicesOfOnePromptMax, &out->n);
  fields->Int("min_tokens", 0, kInt64Max, &out->min_tokens);
  fields->Bool("ignore_eos", &out->ignore_eos);
  fields->Bool("include_stop_str_in_output", &out->include_stop);
  fields->Bool("skip_special_tokens", &out->skip_special_tokens);
  ReadPriority(bounds.priority_min, fields, &out->priority);
  ReadCacheSalt(fields, &out->cache_salt);
  fields->Int("thinking_token_budget", 0, kInt64Max, &out->thinking_budget);
  fields->Int("prompt_logprobs", 0, 20, &out->prompt_logprobs);
  if (out->prompt_logprobs && out->stream) {
    fields->Fail(InvalidRequest("prompt_logprobs", "invalid_value",
                                "Invalid 'prompt_logprobs': not available while streaming."));
  }
  ReadGrammar(fields, &out->grammar);
  RefuseUnsupported(fields);
}

}  // namespace inhouse::model_server
