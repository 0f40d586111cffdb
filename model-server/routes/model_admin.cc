#include "model-server/routes/model_admin.h"

#include <optional>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "base/utf8.h"
#include "fmt/format.h"
#include "model-server/api/fields.h"
#include "model-server/api/json_limits.h"
#include "model-server/api/json_writer.h"
#include "model-server/routes/model_swap.h"

namespace inhouse::model_server {
namespace {

constexpr float kWaitSecondsMax = 86400;

void SendJson(ResponseWriter& writer, int status, std::string body) {
  Response response{.status = status, .body = std::move(body)};
  response.headers.Add("Content-Type", "application/json");
  writer.Send(std::move(response));
}

// What keeps the swap from happening; the serving model has not noticed.
ApiError FromSwapStatus(const absl::Status& status) {
  ApiError error = FromStatus(status);
  const auto as = [&](int http_status, std::string code) {
    error = InvalidRequest("model", std::move(code), base::Message(status));
    error.status = http_status;
  };
  switch (status.code()) {
    case absl::StatusCode::kAlreadyExists:
      as(409, "swap_in_progress");
      break;
    case absl::StatusCode::kResourceExhausted:
      as(409, "insufficient_memory");
      break;
    case absl::StatusCode::kFailedPrecondition:
      as(409, "no_previous_model");
      break;
    case absl::StatusCode::kNotFound:
      as(404, "model_not_found");
      break;
    case absl::StatusCode::kPermissionDenied:
      as(403, "model_path_not_allowed");
      error.type = "permission_error";
      break;
    case absl::StatusCode::kUnavailable:
      error = Unavailable(base::Message(status), 5);
      break;
    default:
      as(400, "invalid_model");
      break;
  }
  return error;
}

void WriteText(std::string_view key, std::string_view text, JsonWriter* json) {
  json->Key(key).String(base::ReplaceInvalidUtf8(text));
}

void WriteReport(const SwapReport& report, JsonWriter* json) {
  json->BeginObject();
  json->Key("id").Int(report.number);
  WriteText("from", report.from, json);
  WriteText("to", report.to, json);
  json->Key("status").String(Name(report.phase));
  if (report.phase == SwapPhase::kLoading) json->Key("percent").Int(report.percent);
  json->Key("started_at").Raw(fmt::format("{:.3f}", report.started));
  json->Key("ended_at");
  if (report.running()) {
    json->Null();
  } else {
    json->Raw(fmt::format("{:.3f}", report.ended));
  }
  json->Key("error");
  if (report.status.ok()) {
    json->Null();
  } else {
    json->String(base::ReplaceInvalidUtf8(base::Message(report.status)));
  }
  json->EndObject();
}

void WriteModel(const ServedModel& model, JsonWriter* json) {
  const engine::ModelInfo& info = model.engine->info();
  const engine::EngineStats stats = model.engine->stats();
  json->BeginObject();
  WriteText("model", model.source, json);
  WriteText("path", info.path, json);
  json->Key("architecture").String(info.architecture);
  json->Key("system_fingerprint").String(model.fingerprint);
  json->Key("model_sha256").String(info.digest);
  json->Key("loaded_at").Int(model.created);
  json->Key("max_model_len").Int(info.context_tokens);
  json->Key("isa").String(info.isa);
  const engine::ByteSize& bytes = info.bytes;
  json->Key("bytes").Int(bytes.weights + bytes.kv + bytes.scratch + bytes.adapters);
  json->Key("running").Int(stats.running);
  json->Key("waiting").Int(stats.waiting);
  json->EndObject();
}

std::string StateJson(const Context& context) {
  const ModelRef serving = context.models.current();
  const auto previous = context.swap->previous();
  const auto last = context.swap->last();
  JsonWriter json;
  json.BeginObject().Key("object").String("model_state").Key("serving");
  if (serving == nullptr) {
    json.Null();
  } else {
    WriteModel(*serving, &json);
  }
  json.Key("names").BeginArray();
  if (serving != nullptr) {
    for (const std::string& name : serving->names) json.String(base::ReplaceInvalidUtf8(name));
  }
  json.EndArray();
  json.Key("previous");
  if (previous) {
    json.BeginObject();
    WriteText("model", previous->source, &json);
    json.Key("resident").Bool(previous->resident != nullptr).EndObject();
  } else {
    json.Null();
  }
  // Those that answer what was begun with them, and no more.
  json.Key("finishing").BeginArray();
  for (const ModelRef& model : context.models.living()) {
    if (model != serving && (!previous || model != previous->resident)) WriteModel(*model, &json);
  }
  json.EndArray().Key("swap");
  if (last) {
    WriteReport(*last, &json);
  } else {
    json.Null();
  }
  json.EndObject();
  return json.Take();
}

void StartSwap(const Exchange& exchange, SwapRequest request) {
  Context* context = exchange.context;
  if (const ServingState state = context->state;
      state == ServingState::kLoading || state == ServingState::kDraining) {
    return exchange.writer->Send(ErrorResponse(*CheckServing(*context)));
  }
  const guard::Caller& caller = exchange.call->caller;
  spdlog::info("{} asks for {}", caller.key_id.empty() ? exchange.request->peer : caller.key_id,
               request.rollback ? "the previous model" : "model " + request.model);
  const auto checked = [context, writer = exchange.writer](const SwapReport& report) {
    JsonWriter json;
    WriteReport(report, &json);
    context->loop->Post([writer, report, body = json.Take()] {
      if (!report.status.ok()) return writer->Send(ErrorResponse(FromSwapStatus(report.status)));
      SendJson(*writer, report.running() ? 202 : 200, body);
    });
  };
  const absl::Status status =
      context->swap->Start(std::move(request), checked, [](const SwapReport&) {});
  if (!status.ok()) exchange.writer->Send(ErrorResponse(FromSwapStatus(status)));
}

std::optional<ApiError> ReadSwap(const std::string& text, SwapRequest* out) {
  Json body;
  // A rollback needs to say nothing.
  if (out->rollback && text.empty()) return std::nullopt;
  if (auto error = ParseBody(text, {}, &body)) return error;
  Fields fields(body);
  auto wait = static_cast<float>(out->wait_seconds);
  if (!out->rollback) fields.Text("model", &out->model);
  fields.Bool("unload_first", &out->unload_first);
  fields.Bool("keep_previous", &out->keep_previous);
  fields.Float("wait_seconds", {.min = 0, .max = kWaitSecondsMax}, &wait);
  out->wait_seconds = wait;
  if (fields.ok() && !out->rollback && out->model.empty()) fields.FailRequired("model");
  if (fields.ok() && out->unload_first && out->keep_previous) {
    fields.Fail(InvalidRequest("keep_previous", "invalid_value",
                               "Invalid 'keep_previous': a model that is unloaded first is not "
                               "kept."));
  }
  return fields.TakeError();
}

void HandleSwap(const Exchange& exchange, bool rollback) {
  SwapRequest request{.rollback = rollback};
  if (const auto error = ReadSwap(exchange.request->body, &request)) {
    return exchange.writer->Send(ErrorResponse(*error));
  }
  StartSwap(exchange, std::move(request));
}

}  // namespace

void HandleModelState(const Exchange& exchange) {
  SendJson(*exchange.writer, 200, StateJson(*exchange.context));
}

void HandleSwapModel(const Exchange& exchange) { HandleSwap(exchange, /*rollback=*/false); }
void HandleRollBackModel(const Exchange& exchange) { HandleSwap(exchange, /*rollback=*/true); }

}  // namespace inhouse::model_server
