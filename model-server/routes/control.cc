#include "model-server/routes/control.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "model-server/api/json_writer.h"
#include "model-server/api/openapi.h"
#include "model-server/routes/model_swap.h"

namespace inhouse::model_server {
namespace {

void SendJson(const Exchange& exchange, std::string body) {
  Response response{.body = std::move(body)};
  response.headers.Add("Content-Type", "application/json");
  exchange.writer->Send(std::move(response));
}

// vLLM's `root` and `max_model_len` beside OpenAI's members.
void WriteModel(const ServedModel& model, const std::string& name, JsonWriter* json) {
  json->BeginObject();
  json->Key("id").String(name);
  json->Key("object").String("model");
  json->Key("created").Int(model.created);
  json->Key("owned_by").String("inhouse");
  json->Key("root").String(model.names.front());
  json->Key("parent").Null();
  json->Key("max_model_len").Int(model.engine->info().context_tokens);
  json->EndObject();
}

// As vLLM shows a LoRA: `parent` is the name of the model that it belongs to.
void WriteAdapter(const ServedModel& model, const std::string& parent, const std::string& id,
                  const std::string& adapter, JsonWriter* json) {
  json->BeginObject();
  json->Key("id").String(id);
  json->Key("object").String("model");
  json->Key("created").Int(model.created);
  json->Key("owned_by").String("inhouse");
  json->Key("root").String(adapter);
  json->Key("parent").String(parent);
  json->Key("max_model_len").Int(model.engine->info().context_tokens);
  json->EndObject();
}

// The list is there while the server drains: what is being answered goes on. Null: there is no
// model, and that was answered.
ModelRef ModelOrError(const Exchange& exchange) {
  ModelRef model = exchange.context->models.current();
  if (model == nullptr) exchange.writer->Send(ErrorResponse(NoModel(*exchange.context)));
  return model;
}

// A key sees the models that it may use.
bool MayUse(const Exchange& exchange, const std::string& model) {
  return exchange.call->pass == nullptr || exchange.call->pass->MayUse(model);
}

}  // namespace

void HandleLive(const Exchange& exchange) { SendJson(exchange, R"({"status":"ok"})"); }

void HandleReady(const Exchange& exchange) {
  if (const auto error = CheckServing(*exchange.context)) {
    return exchange.writer->Send(ErrorResponse(*error));
  }
  SendJson(exchange, R"({"status":"ok"})");
}

void HandleMetrics(const Exchange& exchange) {
  Context& context = *exchange.context;
  context.metrics->SetEngine(context.models.Stats());
  context.metrics->SetModels(static_cast<int64_t>(context.models.living().size()),
                             context.swap->running());
  if (const auto& tracer = context.options.tracer; tracer != nullptr) {
    context.metrics->SetTraces(tracer->stats());
  }
  Response response{.body = context.metrics->Text()};
  response.headers.Add("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  exchange.writer->Send(std::move(response));
}

void HandleVersion(const Exchange& exchange) {
  JsonWriter json;
  json.BeginObject();
  json.Key("version").String(exchange.context->options.version);
  json.Key("commit").String(exchange.context->options.commit);
  json.EndObject();
  SendJson(exchange, json.Take());
}

void HandleModels(const Exchange& exchange) {
  const ModelRef served = ModelOrError(exchange);
  if (served == nullptr) return;
  const ServedModel& model = *served;
  JsonWriter json;
  json.BeginObject().Key("object").String("list").Key("data").BeginArray();
  for (const std::string& name : model.names) {
    if (MayUse(exchange, name)) WriteModel(model, name, &json);
  }
  // Under each name: a key may be good for one of them only.
  const std::vector<engine::AdapterInfo> adapters = model.engine->adapters();
  for (const std::string& name : model.names) {
    for (const engine::AdapterInfo& adapter : adapters) {
      const std::string id = name + ":" + adapter.name;
      if (MayUse(exchange, id)) WriteAdapter(model, name, id, adapter.name, &json);
    }
  }
  json.EndArray().EndObject();
  SendJson(exchange, json.Take());
}

void HandleModel(const Exchange& exchange) {
  const ModelRef served = ModelOrError(exchange);
  if (served == nullptr) return;
  const ServedModel& model = *served;
  const auto adapter =
      model.IsNamed(exchange.parameter) ? std::nullopt : model.FindAdapter(exchange.parameter);
  const bool there = model.IsNamed(exchange.parameter) || adapter;
  if (!there || !MayUse(exchange, exchange.parameter)) {
    return exchange.writer->Send(ErrorResponse(ModelNotFound(exchange.parameter.substr(0, 200))));
  }
  JsonWriter json;
  if (adapter) {
    const auto named = std::find_if(
        model.names.begin(), model.names.end(),
        [&](const std::string& name) { return exchange.parameter == name + ":" + adapter->name; });
    WriteAdapter(model, named == model.names.end() ? model.names.front() : *named,
                 exchange.parameter, adapter->name, &json);
  } else {
    WriteModel(model, exchange.parameter, &json);
  }
  SendJson(exchange, json.Take());
}

// There from the first moment on; the names of the models come with them.
void HandleOpenApi(const Exchange& exchange) {
  const Context& context = *exchange.context;
  const ModelRef model = context.models.current();
  std::vector<std::string> names;  // those that the caller may use, as in /v1/models
  if (model != nullptr) {
    for (const std::string& name : model->names) {
      if (MayUse(exchange, name)) names.push_back(name);
    }
    for (const engine::AdapterInfo& adapter : model->engine->adapters()) {
      for (const std::string& name : model->names) {
        std::string id = name + ":" + adapter.name;
        if (MayUse(exchange, id)) names.push_back(std::move(id));
      }
    }
  }
  SendJson(exchange, OpenApiJson(context.options.version, names));
}

// As in vLLM: with it, /tokenize and /detokenize, lm-eval needs no tokenizer of its own.
void HandleTokenizerInfo(const Exchange& exchange) {
  const ModelRef model = ModelOrError(exchange);
  if (model == nullptr) return;
  const engine::Engine& engine = *model->engine;
  const engine::Tokenizer& tokenizer = *engine.tokenizer();
  JsonWriter json;
  const auto token = [&](std::string_view key, std::optional<engine::TokenId> id) {
    json.Key(key);
    if (id) {
      json.String(base::ReplaceInvalidUtf8(tokenizer.TokenBytes(*id)));
    } else {
      json.Null();
    }
  };
  json.BeginObject();
  json.Key("tokenizer_class").String("inhouse");
  token("bos_token", tokenizer.bos());
  token("eos_token", tokenizer.eos());
  json.Key("add_bos_token").Bool(tokenizer.adds_bos());
  json.Key("vocab_size").Int(tokenizer.vocab_size());
  json.Key("model_max_length").Int(engine.info().context_tokens);
  json.Key("chat_template");
  if (tokenizer.spec().chat_template.empty()) {
    json.Null();
  } else {
    json.String(base::ReplaceInvalidUtf8(tokenizer.spec().chat_template));
  }
  json.EndObject();
  SendJson(exchange, json.Take());
}

}  // namespace inhouse::model_server
