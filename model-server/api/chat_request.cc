#include "model-server/api/chat_request.h"

#include <array>
#include <limits>
#include <utility>

#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();

// Template variables: DeepSeek's and OpenAI's own switches, then what the client sets by name.
void ReadVariables(Fields* fields, Json* out) {
  const auto set_thinking = [&](bool on) {
    (*out)["thinking"] = on;         // DeepSeek V3.1
    (*out)["enable_thinking"] = on;  // Qwen3
  };
  std::string effort;
  fields->Text("reasoning_effort", &effort);
  if (!effort.empty()) {
    static constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium",
                                                                 "high", "xhigh",   "max"};
    if (std::find(kEfforts.begin(), kEfforts.end(), effort) == kEfforts.end()) {
      return fields->Fail(InvalidRequest(
          "reasoning_effort", "invalid_value",
          fmt::format(
              "Invalid 'reasoning_effort': '{}'. Supported values are: 'none', 'minimal', 'low', "
              "'medium', 'high', 'xhigh' and 'max'.",
              effort.substr(0, 40))));
    }
    (*out)["reasoning_effort"] = effort;
    if (effort == "none") set_thinking(false);
  }
  if (const Json* thinking = fields->Find("thinking")) {
    const Json type = thinking->is_object() ? thinking->value("type", Json()) : Json();
    if (type != "enabled" && type != "disabled") {
      return fields->Fail(InvalidRequest(
          "thinking.type", "invalid_value",
          "Invalid 'thinking.type': supported values are 'enabled' and 'disabled'."));
    }
    set_thinking(type == "enabled");
  }
  const Json* variables = fields->Find("chat_template_kwargs");
  if (variables == nullptr) return;
  if (!variables->is_object()) {
    return fields->FailType("chat_template_kwargs", "an object", *variables);
  }
  for (const auto& [key, value] : variables->items()) {
    // What the server itself gives to the template is not the client's to replace.
    static constexpr std::array<std::string_view, 6> kOurs = {
        "messages", "tools", "add_generation_prompt", "bos_token", "eos_token", "chat_template"};
    if (std::find(kOurs.begin(), kOurs.end(), key) == kOurs.end()) (*out)[key] = value;
  }
}

void ReadLogprobs(Fields* fields, ChatRequest* out) {
  fields->Bool("logprobs", &out->logprobs);
  fields->Int("top_logprobs", 0, 20, &out->top_logprobs);
  if (out->top_logprobs > 0 && !out->logprobs) {
    fields->Fail(InvalidRequest(
        "top_logprobs", "invalid_value",
        "Invalid 'top_logprobs': 'logprobs' must be true when 'top_logprobs' is used."));
  }
}

void ReadModalities(Fields* fields) {
  const Json* modalities = fields->Find("modalities");
  if (modalities != nullptr && *modalities != Json::array({"text"})) {
    fields->Fail(InvalidRequest("modalities", "invalid_value",
                                "Invalid 'modalities': this model answers in ['text'] only."));
  }
  if (fields->Find("audio") != nullptr) {
    fields->Fail(InvalidRequest("audio", "unsupported_parameter",
                                "Unsupported parameter: 'audio'. This model answers in text."));
  }
}

void ReadContinuation(Fields* fields, ChatRequest* out) {
  bool continue_final = false;
  fields->Bool("add_generation_prompt", &out->options.add_generation_prompt);
  fields->Bool("continue_final_message", &continue_final);
  if (!fields->ok() || out->messages.empty()) return;
  if (continue_final) {
    if (out->messages.back().role != "assistant") {
      return fields->Fail(InvalidRequest(
          "continue_final_message", "invalid_value",
          "'continue_final_message' needs a last message whose role is 'assistant'."));
    }
    out->messages.back().prefix = true;
  }
  if (out->messages.back().prefix) out->options.add_generation_prompt = false;
}

}  // namespace

std::optional<ApiError> ReadChatRequest(const Json& body, const ModelBounds& bounds,
                                        ChatRequest* out) {
  Fields fields(body);
  if (fields.Find("model") == nullptr) fields.FailRequired("model");
  fields.Text("model", &out->model);
  const Json* messages = fields.Find("messages");
  if (messages == nullptr) {
    fields.FailRequired("messages");
  } else {
    ReadMessages(*messages, &fields, &out->messages);
  }
  ReadGenerateParams(bounds, &fields, &out->params);
  fields.Int("max_tokens", 1, kInt64Max, &out->params.max_tokens);
  fields.Int("max_completion_tokens", 1, kInt64Max,
             &out->params.max_tokens);  // the newer name wins
  ReadLogprobs(&fields, out);
  ReadModalities(&fields);
  ReadToolChoice(&fields, &out->tool_choice);
  out->options.tools = out->tool_choice.offered;
  fields.Bool("parallel_tool_calls", &out->parallel_tool_calls);
  ReadVariables(&fields, &out->options.variables);
  fields.Bool("include_reasoning", &out->include_reasoning);
  ReadContinuation(&fields, out);
  return fields.TakeError();
}

}  // namespace inhouse::model_server
