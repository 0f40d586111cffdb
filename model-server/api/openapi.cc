#include "model-server/api/openapi.h"

#include <algorithm>

#include "fmt/format.h"
#include "model-server/api/json_writer.h"

namespace inhouse::model_server {
namespace {

// What chat and text completions share; {} stands for the model's own schema.
constexpr std::string_view kSampling =
    R"("model":{"$ref":"#/components/schemas/Model"},)"
    R"("temperature":{"type":["number","null"],"minimum":0,"maximum":2},)"
    R"("top_p":{"type":["number","null"],"exclusiveMinimum":0,"maximum":1},)"
    R"("top_k":{"type":["integer","null"],"minimum":-1},)"
    R"("min_p":{"type":["number","null"],"minimum":0,"maximum":1},)"
    R"("presence_penalty":{"type":["number","null"],"minimum":-2,"maximum":2},)"
    R"("frequency_penalty":{"type":["number","null"],"minimum":-2,"maximum":2},)"
    R"("repetition_penalty":{"type":["number","null"],"exclusiveMinimum":0,"maximum":10},)"
    R"("seed":{"type":["integer","null"]},)"
    R"("n":{"type":["integer","null"],"minimum":1,"maximum":16},)"
    R"("max_tokens":{"type":["integer","null"],"minimum":1},)"
    R"("min_tokens":{"type":["integer","null"],"minimum":0},)"
    R"("stop":{"anyOf":[{"type":"null"},{"type":"string","minLength":1,"maxLength":1024},)"
    R"({"type":"array","maxItems":16,"items":{"type":"string","minLength":1,"maxLength":1024}}]},)"
    R"("stop_token_ids":{"type":["array","null"],"items":{"type":"integer","minimum":0}},)"
    R"("allowed_token_ids":{"type":["array","null"],"items":{"type":"integer","minimum":0}},)"
    R"("bad_words":{"type":["array","null"],"items":{"type":"string","minLength":1}},)"
    R"("logit_bias":{"type":["object","null"],)"
    R"("additionalProperties":{"type":"number","minimum":-100,"maximum":100}},)"
    R"("ignore_eos":{"type":["boolean","null"]},)"
    R"("include_stop_str_in_output":{"type":["boolean","null"]},)"
    R"("skip_special_tokens":{"type":["boolean","null"]},)"
    R"("request_id":{"type":["string","null"],"pattern":"^[!-~]{1,128}$"},)"
    R"("cache_salt":{"type":["string","null"],"pattern":"^[!-~]{1,1024}$"},)"
    R"("priority":{"type":["integer","null"],"minimum":0,"maximum":2147483647},)"
    R"("structured_outputs":{"type":["object","null"],"properties":{"json":{},)"
    R"("regex":{"type":["string","null"]},"choice":{"type":["array","null"],"minItems":1,)"
    R"("items":{"type":"string"}},"grammar":{"type":["string","null"]},)"
    R"("json_object":{"type":["boolean","null"]}},"maxProperties":1},)"
    R"("stream":{"type":["boolean","null"]},)"
    R"("stream_options":{"type":["object","null"],)"
    R"("properties":{"include_usage":{"type":"boolean"}}},)";

constexpr std::string_view kPrompts =
    R"({"anyOf":[{"type":"string","minLength":1},)"
    R"({"type":"array","minItems":1,"items":{"type":"string","minLength":1}},)"
    R"({"type":"array","minItems":1,"items":{"type":"integer","minimum":0}},)"
    R"({"type":"array","minItems":1,)"
    R"("items":{"type":"array","minItems":1,"items":{"type":"integer","minimum":0}}}]})";

constexpr std::string_view kContent =
    R"({"anyOf":[{"type":"string"},{"type":"array","items":{"type":"object",)"
    R"("required":["type","text"],)"
    R"("properties":{"type":{"const":"text"},"text":{"type":"string"}}}}]})";

constexpr std::string_view kFunctionTools =
    R"({"type":["array","null"],"items":{"type":"object","required":["type","function"],)"
    R"("properties":{"type":{"const":"function"},"function":{"type":"object","required":["name"],)"
    R"("properties":{"name":{"type":"string","minLength":1},"description":{"type":"string"},)"
    R"("parameters":{"type":"object"},"strict":{"type":["boolean","null"]}}}}}})";

std::string ChatSchema() {
  return fmt::format(
      R"({{"type":"object","required":["model","messages"],"properties":{{{}"messages":{{"type":)"
      R"("array","minItems":1,"items":{{"type":"object","required":["role"],)"
      R"("properties":{{"role":{{"enum":["system","developer","user","assistant","tool"]}},)"
      R"("content":{{"anyOf":[{{"type":"null"}},{}]}},"tool_calls":{{"type":["array","null"]}},)"
      R"("name":{{"type":"string"}},"tool_call_id":{{"type":"string"}},)"
      R"("reasoning_content":{{"type":["string","null"]}}}}}}}},)"
      R"("max_completion_tokens":{{"type":["integer","null"],"minimum":1}},)"
      R"("logprobs":{{"type":["boolean","null"]}},)"
      R"("top_logprobs":{{"type":["integer","null"],"minimum":0,"maximum":20}},)"
      R"("tools":{},"tool_choice":{{}},"parallel_tool_calls":{{"type":["boolean","null"]}},)"
      R"("response_format":{{"type":["object","null"]}},)"
      R"("reasoning_effort":{{"enum":["none","minimal","low","medium","high","xhigh","max",null]}},)"
      R"("thinking":{{"type":["object","null"],"required":["type"],)"
      R"("properties":{{"type":{{"enum":["enabled","disabled"]}}}}}},)"
      R"("thinking_token_budget":{{"type":["integer","null"],"minimum":0}},)"
      R"("chat_template_kwargs":{{"type":["object","null"]}},)"
      R"("include_reasoning":{{"type":["boolean","null"]}},)"
      R"("add_generation_prompt":{{"type":["boolean","null"]}},)"
      R"("continue_final_message":{{"type":["boolean","null"]}}}}}})",
      kSampling, kContent, kFunctionTools);
}

std::string CompletionSchema() {
  return fmt::format(
      R"({{"type":"object","required":["model","prompt"],"properties":{{{}"prompt":{},)"
      R"("suffix":{{"type":["string","null"]}},"echo":{{"type":["boolean","null"]}},)"
      R"("best_of":{{"type":["integer","null"],"minimum":1,"maximum":16}},)"
      R"("logprobs":{{"type":["integer","null"],"minimum":0,"maximum":5}}}}}})",
      kSampling, kPrompts);
}

std::string EmbeddingSchema() {
  return fmt::format(R"({{"type":"object","required":["model","input"],"properties":{{)"
                     R"("model":{{"$ref":"#/components/schemas/Model"}},"input":{},)"
                     R"("dimensions":{{"type":["integer","null"],"minimum":1}},)"
                     R"("encoding_format":{{"enum":["float","base64",null]}}}}}})",
                     kPrompts);
}

std::string ResponseSchema() {
  return R"({"type":"object","required":["model","input"],"properties":{)"
         R"("model":{"$ref":"#/components/schemas/Model"},"input":{"anyOf":[{"type":"string"},)"
         R"({"type":"array","minItems":1,"items":{"type":"object"}}]},)"
         R"("instructions":{"type":["string","null"]},)"
         R"("max_output_tokens":{"type":["integer","null"],"minimum":1},)"
         R"("temperature":{"type":["number","null"],"minimum":0,"maximum":2},)"
         R"("top_p":{"type":["number","null"],"exclusiveMinimum":0,"maximum":1},)"
         R"("top_logprobs":{"type":["integer","null"],"minimum":0,"maximum":20},)"
         R"("include":{"type":["array","null"],"items":{"type":"string"}},)"
         R"("reasoning":{"type":["object","null"]},"text":{"type":["object","null"]},)"
         R"("tools":{"type":["array","null"],"items":{"type":"object"}},"tool_choice":{},)"
         R"("parallel_tool_calls":{"type":["boolean","null"]},)"
         R"("metadata":{"type":["object","null"]},"stream":{"type":["boolean","null"]}}})";
}

std::string MessageSchema() {
  return R"({"type":"object","required":["model","max_tokens","messages"],"properties":{)"
         R"("model":{"$ref":"#/components/schemas/Model"},)"
         R"("max_tokens":{"type":"integer","minimum":1},"messages":{"type":"array","minItems":1,)"
         R"("items":{"type":"object","required":["role","content"],"properties":{)"
         R"("role":{"enum":["user","assistant"]},"content":{"anyOf":[{"type":"string"},)"
         R"({"type":"array","items":{"type":"object","required":["type"],)"
         R"("properties":{"type":{"type":"string"}}}}]}}}},)"
         R"("system":{"anyOf":[{"type":"null"},{"type":"string"},{"type":"array"}]},)"
         R"("stop_sequences":{"type":["array","null"],"items":{"type":"string","minLength":1}},)"
         R"("temperature":{"type":["number","null"],"minimum":0,"maximum":1},)"
         R"("top_p":{"type":["number","null"],"exclusiveMinimum":0,"maximum":1},)"
         R"("top_k":{"type":["integer","null"],"minimum":0},)"
         R"("thinking":{"type":["object","null"]},"tool_choice":{"type":["object","null"]},)"
         R"("tools":{"type":["array","null"],"items":{"type":"object"}},)"
         R"("stream":{"type":["boolean","null"]}}})";
}

constexpr std::string_view kLoadAdapterSchema =
    R"({"type":"object","required":["lora_name","lora_path"],"properties":{)"
    R"("lora_name":{"type":"string","minLength":1},"lora_path":{"type":"string","minLength":1},)"
    R"("load_inplace":{"type":"boolean"}}})";

constexpr std::string_view kUnloadAdapterSchema =
    R"({"type":"object","required":["lora_name"],)"
    R"("properties":{"lora_name":{"type":"string","minLength":1}}})";

constexpr std::string_view kSwapSchema =
    R"({"type":"object","required":["model"],"properties":{)"
    R"("model":{"type":"string","minLength":1},"unload_first":{"type":"boolean"},)"
    R"("keep_previous":{"type":"boolean"},)"
    R"("wait_seconds":{"type":"number","minimum":0,"maximum":86400}}})";

constexpr std::string_view kTokenizeSchema =
    R"({"type":"object","properties":{"model":{"$ref":"#/components/schemas/Model"},)"
    R"("prompt":{"type":"string"},"content":{"type":"string"},)"
    R"("add_special_tokens":{"type":"boolean"},)"
    R"("messages":{"type":"array","items":{"type":"object"}}}})";
constexpr std::string_view kDetokenizeSchema =
    R"({"type":"object","required":["tokens"],"properties":{)"
    R"("model":{"$ref":"#/components/schemas/Model"},)"
    R"("tokens":{"type":"array","items":{"type":"integer","minimum":0}}}})";
constexpr std::string_view kBatchSchema =
    R"({"type":"object","required":["input_file_id","endpoint","completion_window"],)"
    R"("properties":{"input_file_id":{"type":"string"},"endpoint":{"enum":[)"
    R"("/v1/chat/completions","/v1/completions","/v1/embeddings","/v1/responses"]},)"
    R"("completion_window":{"const":"24h"},"metadata":{"type":["object","null"],)"
    R"("additionalProperties":{"type":"string"}}}})";
constexpr std::string_view kFormSchema =
    R"({"type":"object","required":["file","purpose"],"properties":{)"
    R"("file":{"type":"string","format":"binary"},"purpose":{"enum":["batch","user_data"]}}})";
constexpr std::string_view kErrorSchema =
    R"({"type":"object","required":["error"],"properties":{"error":{"type":"object",)"
    R"("required":["message","type"],"properties":{"message":{"type":"string"},)"
    R"("type":{"type":"string"},"param":{"type":["string","null"]},)"
    R"("code":{"type":["string","null"]}}}}})";

void WriteParameters(const Operation& operation, JsonWriter* json) {
  json->Key("parameters").BeginArray();
  if (operation.pattern.find('{') != std::string_view::npos) {
    json->Raw(R"({"name":"id","in":"path","required":true,)"
              R"("schema":{"type":"string","minLength":1}})");
  }
  for (std::string_view rest = operation.parameters; !rest.empty();) {
    const size_t end = std::min(rest.find(','), rest.size());
    const std::string_view name = rest.substr(0, end);
    json->BeginObject().Key("name").String(name).Key("in").String("query").Key("schema");
    json->Raw(name == "limit" ? R"({"type":"integer","minimum":1})" : R"({"type":"string"})");
    json->EndObject();
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  json->EndArray();
}

void WriteOperation(const Operation& operation, JsonWriter* json) {
  json->BeginObject().Key("summary").String(operation.summary);
  WriteParameters(operation, json);
  if (!operation.body.empty()) {
    json->Key("requestBody").BeginObject().Key("required").Bool(true).Key("content").BeginObject();
    const bool form = operation.body == "form";
    json->Key(form ? "multipart/form-data" : "application/json").BeginObject().Key("schema");
    if (form) {
      json->Raw(kFormSchema);
    } else {
      json->Raw(fmt::format(R"({{"$ref":"#/components/schemas/{}"}})", operation.body));
    }
    json->EndObject().EndObject().EndObject();
  }
  json->Key("responses").BeginObject().Key("200").BeginObject();
  json->Key("description").String("The answer").Key("content").BeginObject();
  json->Key(operation.answer).Raw("{}");
  if (operation.streams) json->Key("text/event-stream").Raw("{}");
  json->EndObject().EndObject();
  json->Key("default").Raw(
      R"({"description":"An error; docs/user-guide/serve.md lists the codes","content":)"
      R"({"application/json":{"schema":{"$ref":"#/components/schemas/Error"}}}})");
  json->EndObject().EndObject();
}

void WriteSchemas(const std::vector<std::string>& names, JsonWriter* json) {
  json->Key("components").BeginObject().Key("schemas").BeginObject();
  json->Key("Model").BeginObject().Key("type").String("string");
  if (!names.empty()) {
    json->Key("enum").BeginArray();
    for (const std::string& name : names) json->String(name);
    json->EndArray();
  }
  json->EndObject();
  json->Key("Chat").Raw(ChatSchema()).Key("Completion").Raw(CompletionSchema());
  json->Key("Embedding").Raw(EmbeddingSchema()).Key("Response").Raw(ResponseSchema());
  json->Key("Message").Raw(MessageSchema()).Key("Batch").Raw(kBatchSchema);
  json->Key("Tokenize").Raw(kTokenizeSchema).Key("Detokenize").Raw(kDetokenizeSchema);
  json->Key("LoadAdapter").Raw(kLoadAdapterSchema);
  json->Key("UnloadAdapter").Raw(kUnloadAdapterSchema);
  json->Key("Swap").Raw(kSwapSchema).Key("Error").Raw(kErrorSchema);
  json->EndObject().EndObject();
}

}  // namespace

const std::vector<Operation>& Operations() {
  static const auto* const kOperations = new std::vector<Operation>{
      {"GET", "/livez", "Whether the process lives"},
      {"GET", "/readyz", "Whether requests are answered"},
      {"GET", "/health", "As /readyz"},
      {"GET", "/metrics", "Prometheus text", "", "", "text/plain"},
      {"GET", "/version", "Version and commit"},
      {"GET", "/openapi.json", "This document"},
      {"GET", "/tokenizer_info", "The model's tokenizer, as in vLLM"},
      {"GET", "/v1/models", "The served models"},
      {"GET", "/v1/models/{id}", "One served model"},
      {"POST", "/v1/chat/completions", "Chat", "Chat", "", "application/json", true},
      {"POST", "/v1/completions", "Text completion", "Completion", "", "application/json", true},
      {"POST", "/v1/embeddings", "Vectors of texts", "Embedding"},
      {"GET", "/admin/model", "Which model answers, and the last swap"},
      {"POST", "/admin/model/swap", "Let another model answer", "Swap"},
      {"POST", "/admin/model/rollback", "Let the previous model answer again"},
      {"POST", "/v1/load_lora_adapter", "Load a LoRA adapter", "LoadAdapter", "", "text/plain"},
      {"POST", "/v1/unload_lora_adapter", "Unload a LoRA adapter", "UnloadAdapter", "",
       "text/plain"},
      {"POST", "/v1/responses", "Chat as items, stateless", "Response", "", "application/json",
       true},
      {"POST", "/v1/messages", "Chat as Anthropic's clients speak", "Message", "",
       "application/json", true},
      {"POST", "/v1/messages/count_tokens", "Tokens of such a chat", "Message"},
      {"POST", "/v1/files", "Upload a file", "form"},
      {"GET", "/v1/files", "The files, newest first", "", "after,limit,purpose"},
      {"GET", "/v1/files/{id}/content", "What is in a file", "", "", "application/octet-stream"},
      {"GET", "/v1/files/{id}", "One file"},
      {"DELETE", "/v1/files/{id}", "Delete a file"},
      {"POST", "/v1/batches", "Run the requests of a file", "Batch"},
      {"GET", "/v1/batches", "The batches, newest first", "", "after,limit"},
      {"POST", "/v1/batches/{id}/cancel", "End a batch early"},
      {"GET", "/v1/batches/{id}", "One batch"},
      {"POST", "/tokenize", "Text to token ids", "Tokenize"},
      {"POST", "/detokenize", "Token ids to text", "Detokenize"},
  };
  return *kOperations;
}

const Operation* FindOperation(std::string_view method, std::string_view pattern) {
  const auto& all = Operations();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Operation& operation) {
    return operation.method == method && operation.pattern == pattern;
  });
  return found == all.end() ? nullptr : &*found;
}

std::string OpenApiJson(std::string_view version, const std::vector<std::string>& names) {
  JsonWriter json;
  json.BeginObject().Key("openapi").String("3.1.0").Key("info").BeginObject();
  json.Key("title").String("inhouse").Key("version").String(version).EndObject();
  json.Key("paths").BeginObject();
  const auto& all = Operations();
  for (size_t i = 0; i < all.size(); ++i) {
    const auto same = [&](const Operation& other) { return other.pattern == all[i].pattern; };
    if (std::find_if(all.begin(), all.end(), same) - all.begin() < static_cast<std::ptrdiff_t>(i)) {
      continue;  // written with the first of its path
    }
    json.Key(all[i].pattern).BeginObject();
    for (const Operation& operation : all) {
      if (!same(operation)) continue;
      json.Key(operation.method == "GET" ? "get"
                                         : (operation.method == "POST" ? "post" : "delete"));
      WriteOperation(operation, &json);
    }
    json.EndObject();
  }
  json.EndObject();
  WriteSchemas(names, &json);
  json.EndObject();
  return json.Take();
}

}  // namespace inhouse::model_server
