#include "model-server/routes/adapters.h"

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "fmt/format.h"
#include "model-server/api/fields.h"
#include "model-server/api/json_limits.h"

namespace inhouse::model_server {
namespace {

namespace fs = std::filesystem;

struct LoadRequest {
  std::string name;
  std::string path;
  bool in_place = false;
};

ApiError Forbidden(std::string code, std::string message) {
  ApiError error = InvalidRequest("lora_path", std::move(code), std::move(message));
  error.status = 403;
  error.type = "permission_error";
  return error;
}

// A refusal of the engine: what is missing is a 404, what does not fit now a 400.
ApiError FromAdapterStatus(const absl::Status& status, std::string param) {
  ApiError error = FromStatus(status);
  const std::string message = base::Message(status);
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      error = InvalidRequest(std::move(param), "adapter_not_found", message);
      error.status = 404;
      break;
    case absl::StatusCode::kResourceExhausted:
      error = InvalidRequest(std::move(param), "adapter_limit", message);
      break;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kPermissionDenied:
      error = InvalidRequest(std::move(param), "invalid_adapter", message);
      break;
    default:
      break;
  }
  return error;
}

// Adapters are read from below a directory that the operator names: a client must not make the
// server open any file that it can reach.
std::optional<ApiError> FindDirectory(const AppOptions& options, std::string* path) {
  if (!options.adapter_root) {
    return Forbidden("adapter_loading_disabled",
                     "This server loads no adapters at run time: it was started without "
                     "--adapter-root.");
  }
  std::error_code error;
  const fs::path root = fs::weakly_canonical(*options.adapter_root, error);
  const fs::path wanted = fs::weakly_canonical(root / *path, error);
  const fs::path below = wanted.lexically_relative(root);
  if (error || below.empty() || *below.begin() == "..") {
    return Forbidden("adapter_path_not_allowed",
                     fmt::format("'{}' is not below the server's --adapter-root.", *path));
  }
  *path = wanted.string();
  return std::nullopt;
}

std::optional<ApiError> ReadBody(const std::string& text, LoadRequest* out, bool needs_path) {
  Json body;
  if (auto error = ParseBody(text, {}, &body)) return error;
  Fields fields(body);
  fields.Text("lora_name", &out->name);
  fields.Text("lora_path", &out->path);
  fields.Bool("load_inplace", &out->in_place);
  if (fields.ok() && out->name.empty()) fields.FailRequired("lora_name");
  if (fields.ok() && needs_path && out->path.empty()) fields.FailRequired("lora_path");
  return fields.TakeError();
}

// A bare adapter name finds the adapter, so it must not be the base model's.
std::optional<ApiError> CheckName(const ServedModel& model, const std::string& name) {
  if (!model.IsNamed(name)) return std::nullopt;
  return InvalidRequest("lora_name", "invalid_value",
                        fmt::format("'{}' is the name of the model itself.", name));
}

std::optional<ApiError> Load(const Context& context, const ServedModel& model, LoadRequest request,
                             std::string* answer) {
  if (auto error = CheckName(model, request.name)) return error;
  if (auto error = FindDirectory(context.options, &request.path)) return error;
  const auto info = model.engine->LoadAdapter({request.name, request.path}, request.in_place);
  if (absl::IsAlreadyExists(info.status())) {
    return InvalidRequest("lora_name", "adapter_exists",
                          fmt::format("The lora adapter '{}' has already been loaded. Set "
                                      "'load_inplace' to true to replace it.",
                                      request.name));
  }
  if (!info.ok()) return FromAdapterStatus(info.status(), "lora_path");
  spdlog::info("adapter {} loaded from {}: rank {}, {} bytes, {}", info->name, info->path,
               info->rank, info->bytes, info->fingerprint);
  *answer = fmt::format("Success: LoRA adapter '{}' added successfully.", request.name);
  return std::nullopt;
}

std::optional<ApiError> Unload(const ServedModel& model, const LoadRequest& request,
                               std::string* answer) {
  const absl::Status status = model.engine->UnloadAdapter(request.name);
  if (!status.ok()) return FromAdapterStatus(status, "lora_name");
  spdlog::info("adapter {} unloaded", request.name);
  *answer = fmt::format("Success: LoRA adapter '{}' removed successfully.", request.name);
  return std::nullopt;
}

enum class Action { kLoad, kUnload };

void RunOnLoader(const Exchange& exchange, Action action) {
  Context* context = exchange.context;
  if (const auto error = CheckServing(*context)) {
    return exchange.writer->Send(ErrorResponse(*error));
  }
  const bool added =
      context->loader->Add([context, action, request = exchange.request, writer = exchange.writer] {
        const bool load = action == Action::kLoad;
        LoadRequest body;
        std::string answer;
        std::optional<ApiError> error = ReadBody(request->body, &body, load);
        const ModelRef model = context->models.current();
        if (model == nullptr) error = NoModel(*context);
        if (!error) {
          error = load ? Load(*context, *model, std::move(body), &answer)
                       : Unload(*model, body, &answer);
        }
        context->loop->Post([writer, error = std::move(error), answer = std::move(answer)] {
          if (error) return writer->Send(ErrorResponse(*error));
          Response response{.body = answer};
          response.headers.Add("Content-Type", "text/plain; charset=utf-8");
          writer->Send(std::move(response));
        });
      });
  if (!added) {
    exchange.writer->Send(ErrorResponse(Overloaded("Too many adapters wait to be loaded.", 5)));
  }
}

}  // namespace

void HandleLoadAdapter(const Exchange& exchange) { RunOnLoader(exchange, Action::kLoad); }
void HandleUnloadAdapter(const Exchange& exchange) { RunOnLoader(exchange, Action::kUnload); }

}  // namespace inhouse::model_server
