#include "model-server/routes/batches.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/status.h"
#include "base/utf8.h"
#include "fmt/format.h"
#include "model-server/api/json_limits.h"
#include "model-server/http/form.h"
#include "model-server/routes/random_id.h"

namespace inhouse::model_server {
namespace {

using Asked = BatchService::Asked;

constexpr std::chrono::milliseconds kTick{500};
constexpr size_t kWaitingMax = 64;  // requests to the store
// Of each owner but administrators: nobody may fill the disk that all share.
constexpr int64_t kOwnerFilesMax = 1000;
constexpr int64_t kOwnerBytesMax = int64_t{1} << 30;
constexpr int64_t kOwnerBatchesMax = 50;
constexpr int64_t kExpirySecondsMin = 3600;
constexpr int64_t kExpirySecondsMax = 2'592'000;

Response Json200(std::string body) {
  Response response{.body = std::move(body)};
  response.headers.Add("Content-Type", "application/json");
  return response;
}

Response StoreError(const absl::Status& status, const char* param) {
  ApiError error = FromStatus(status);
  if (absl::IsNotFound(status)) {
    error = InvalidRequest(param, "not_found", base::Message(status));
    error.status = 404;
  }
  return ErrorResponse(error);
}

// ?limit=, with the API's bounds.
std::optional<ApiError> ReadLimit(const Request& request, int64_t max, int64_t* out) {
  const std::string text = QueryParameter(request.target, "limit");
  if (text.empty()) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  if (error != std::errc() || end != text.data() + text.size() || *out < 1 || *out > max) {
    return InvalidRequest("limit", "invalid_value",
                          fmt::format("Invalid 'limit': expected an integer from 1 to {}.", max));
  }
  return std::nullopt;
}

const FormPart* FindPart(const std::vector<FormPart>& form, std::string_view name) {
  const auto found = std::find_if(form.begin(), form.end(),
                                  [name](const FormPart& part) { return part.name == name; });
  return found == form.end() ? nullptr : &*found;
}

std::optional<ApiError> ReadExpiry(const std::vector<FormPart>& form, StoredFile* file) {
  const FormPart* seconds = FindPart(form, "expires_after[seconds]");
  if (seconds == nullptr) return std::nullopt;
  int64_t value = 0;
  const std::string_view text = seconds->content;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < kExpirySecondsMin ||
      value > kExpirySecondsMax) {
    return InvalidRequest("expires_after.seconds", "invalid_value",
                          fmt::format("Invalid 'expires_after.seconds': expected an integer from "
                                      "{} to {}.",
                                      kExpirySecondsMin, kExpirySecondsMax));
  }
  file->expires_at = file->created_at + value;
  return std::nullopt;
}

std::optional<ApiError> ReadUpload(const Request& request, StoredFile* file,
                                   std::string_view* content) {
  const auto form = ParseForm(request.headers.Find("content-type"), request.body);
  if (!form) {
    return InvalidRequest("", "invalid_form",
                          "Expected a multipart/form-data body with 'file' and 'purpose'.");
  }
  const FormPart* upload = FindPart(*form, "file");
  const FormPart* purpose = FindPart(*form, "purpose");
  for (const auto& [part, name] : {std::pair(upload, "file"), std::pair(purpose, "purpose")}) {
    if (part != nullptr) continue;
    return InvalidRequest(name, "missing_required_parameter",
                          fmt::format("Missing required parameter: '{}'.", name));
  }
  if (purpose->content != "batch" && purpose->content != "user_data") {
    return InvalidRequest("purpose", "invalid_value",
                          "Invalid 'purpose': supported values are 'batch' and 'user_data'.");
  }
  *content = upload->content;
  // Parts of a form are bytes; names of files go into JSON.
  file->filename = upload->filename.empty() ? "file" : upload->filename.substr(0, 255);
  file->purpose = purpose->content;
  file->bytes = static_cast<int64_t>(content->size());
  file->created_at = UnixNow();
  return ReadExpiry(*form, file);
}

// What is somebody else's does not exist.
absl::StatusOr<StoredFile> FindFile(BatchService& service, const Asked& asked,
                                    const std::string& id) {
  auto file = service.store().File(id);
  if (file.ok() && asked.sees && *asked.sees != file->owner) {
    return absl::NotFoundError("No such file: " + id.substr(0, 100));
  }
  return file;
}

absl::StatusOr<Batch> FindBatch(BatchService& service, const Asked& asked) {
  auto batch = service.store().FindBatch(asked.parameter);
  if (batch.ok() && asked.sees && *asked.sees != batch->owner) {
    return absl::NotFoundError("No such batch: " + asked.parameter.substr(0, 100));
  }
  return batch;
}

Response CreateFile(BatchService& service, const Asked& asked) {
  StoredFile file{.id = "file-" + RandomId(), .owner = asked.owner};
  std::string_view content;
  if (const auto error = ReadUpload(asked.request, &file, &content)) return ErrorResponse(*error);
  file.filename = base::ReplaceInvalidUtf8(file.filename);
  if (asked.sees) {
    const auto usage = service.store().UsageOf(asked.owner);
    if (!usage.ok()) return StoreError(usage.status(), "file");
    if (usage->files >= kOwnerFilesMax || usage->bytes + file.bytes > kOwnerBytesMax) {
      return ErrorResponse(InvalidRequest(
          "file", "storage_limit",
          fmt::format("This API key keeps {} files with {} bytes; at most {} with {} are kept for "
                      "it. Delete some.",
                      usage->files, usage->bytes, kOwnerFilesMax, kOwnerBytesMax)));
    }
  }
  const absl::Status status = service.store().AddFile(file, content);
  return status.ok() ? Json200(FileJson(file)) : StoreError(status, "file");
}

Response ListFiles(BatchService& service, const Asked& asked) {
  int64_t limit = 10'000;
  if (const auto error = ReadLimit(asked.request, limit, &limit)) return ErrorResponse(*error);
  auto files = service.store().Files({.after = QueryParameter(asked.request.target, "after"),
                                      .purpose = QueryParameter(asked.request.target, "purpose"),
                                      .owner = asked.sees,
                                      .limit = limit + 1});
  if (!files.ok()) return StoreError(files.status(), "after");
  const bool more = files->size() > static_cast<size_t>(limit);
  if (more) files->pop_back();
  return Json200(FileListJson(*files, more));
}

Response GetFile(BatchService& service, const Asked& asked) {
  const auto file = FindFile(service, asked, asked.parameter);
  return file.ok() ? Json200(FileJson(*file)) : StoreError(file.status(), "file_id");
}

Response DeleteFile(BatchService& service, const Asked& asked) {
  absl::Status status = FindFile(service, asked, asked.parameter).status();
  if (status.ok()) status = service.store().RemoveFile(asked.parameter);
  return status.ok() ? Json200(DeletedFileJson(asked.parameter)) : StoreError(status, "file_id");
}

Response FileContent(BatchService& service, const Asked& asked) {
  const absl::Status found = FindFile(service, asked, asked.parameter).status();
  if (!found.ok()) return StoreError(found, "file_id");
  auto content = service.store().Content(asked.parameter);
  if (!content.ok()) return StoreError(content.status(), "file_id");
  Response response{.body = *std::move(content)};
  // What somebody uploaded must not be run by a browser.
  response.headers.Add("Content-Type", "application/octet-stream");
  response.headers.Add("X-Content-Type-Options", "nosniff");
  return response;
}

Response CreateBatch(BatchService& service, const Asked& asked) {
  Json body;
  if (const auto error = ParseBody(asked.request.body, {}, &body)) return ErrorResponse(*error);
  Batch batch{.id = "batch_" + RandomId(), .owner = asked.owner, .key = asked.key};
  if (const auto error = ReadBatchRequest(body, &batch)) return ErrorResponse(*error);
  const guard::Scope scope =
      batch.endpoint == "/v1/embeddings" ? guard::Scope::kEmbed : guard::Scope::kChat;
  if (asked.pass != nullptr && !asked.pass->Has(scope)) {
    return ErrorResponse(DenialError(
        {.kind = guard::DenialKind::kScope,
         .message = fmt::format("This API key lacks the scope '{}'.", guard::ScopeName(scope))}));
  }
  const auto file = FindFile(service, asked, batch.input_file);
  if (!file.ok()) return StoreError(file.status(), "input_file_id");
  if (file->purpose != "batch") {
    return ErrorResponse(InvalidRequest("input_file_id", "invalid_value",
                                        "Invalid 'input_file_id': expected a file whose purpose is "
                                        "'batch'."));
  }
  if (asked.sees) {
    const auto usage = service.store().UsageOf(asked.owner);
    if (!usage.ok()) return StoreError(usage.status(), "");
    if (usage->open_batches >= kOwnerBatchesMax) {
      return ErrorResponse(InvalidRequest(
          "", "batch_limit",
          fmt::format("{} batches of this API key have not ended; more are not taken.",
                      usage->open_batches)));
    }
  }
  batch.reached[0] = UnixNow();
  batch.expires_at = batch.reached[0] + service.runner().window_seconds();
  const absl::Status status = service.store().AddBatch(batch);
  return status.ok() ? Json200(BatchJson(batch)) : StoreError(status, "");
}

Response ListBatches(BatchService& service, const Asked& asked) {
  int64_t limit = 20;
  if (const auto error = ReadLimit(asked.request, 100, &limit)) return ErrorResponse(*error);
  auto batches = service.store().Batches({.after = QueryParameter(asked.request.target, "after"),
                                          .owner = asked.sees,
                                          .limit = limit + 1});
  if (!batches.ok()) return StoreError(batches.status(), "after");
  const bool more = batches->size() > static_cast<size_t>(limit);
  if (more) batches->pop_back();
  return Json200(BatchListJson(*batches, more));
}

Response GetBatch(BatchService& service, const Asked& asked) {
  const auto batch = FindBatch(service, asked);
  return batch.ok() ? Json200(BatchJson(*batch)) : StoreError(batch.status(), "batch_id");
}

Response CancelBatch(BatchService& service, const Asked& asked) {
  const std::string& id = asked.parameter;
  auto batch = FindBatch(service, asked);
  if (!batch.ok()) return StoreError(batch.status(), "batch_id");
  if (IsFinal(batch->status)) {
    ApiError error = InvalidRequest(
        "batch_id", "invalid_state",
        fmt::format("Cannot cancel a batch that is {}.", BatchStatusName(batch->status)));
    error.status = 409;
    error.retry_is_useless = true;
    return ErrorResponse(error);
  }
  absl::Status status = absl::OkStatus();
  if (batch->status != BatchStatus::kCancelling) {
    status = service.store().SetStatus(id, BatchStatus::kCancelling, UnixNow());
  }
  if (status.ok()) batch = service.store().FindBatch(id);
  return status.ok() && batch.ok() ? Json200(BatchJson(*batch)) : StoreError(status, "batch_id");
}

void RunOnService(const Exchange& exchange, BatchService::Work work) {
  BatchService* service = exchange.context->batches;
  if (service == nullptr) {
    ApiError error = InvalidRequest("", "batches_off",
                                    "This server keeps no files and runs no batches: it was "
                                    "started without --batches-dir.");
    error.status = 404;
    return exchange.writer->Send(ErrorResponse(error));
  }
  if (!service->Run(exchange, work)) {
    exchange.writer->Send(ErrorResponse(Overloaded("Too many requests wait for the store.", 1)));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<BatchService>> BatchService::Open(const std::string& directory,
                                                                 Loop* loop,
                                                                 BatchDispatch dispatch) {
  INHOUSE_ASSIGN_OR_RETURN(auto store, BatchStore::Open(directory));
  return std::unique_ptr<BatchService>(
      new BatchService(std::move(store), loop, std::move(dispatch)));
}

BatchService::BatchService(std::unique_ptr<BatchStore> store, Loop* loop, BatchDispatch dispatch)
    : loop_(loop), store_(std::move(store)), queue_(std::make_unique<WorkQueue>(kWaitingMax)) {
  runner_ = std::make_shared<BatchRunner>(store_.get(), queue_.get(), loop, std::move(dispatch),
                                          BatchRunner::Options{});
  Tick();
}

BatchService::~BatchService() = default;

void BatchService::Tick() {
  loop_->PostAfter(kTick, [this, weak = std::weak_ptr(alive_)] {
    if (weak.expired()) return;
    queue_->AddLast([this] {
      if (!store_->RemoveExpiredFiles(UnixNow()).ok()) return;
      runner_->Pump();
    });
    Tick();
  });
}

bool BatchService::Run(const Exchange& exchange, Work work) {
  return queue_->Add([this, work, exchange] {
    const Call& call = *exchange.call;
    const bool all = call.pass == nullptr || call.pass->Has(guard::Scope::kAdmin);
    const std::string& tenant = call.caller.tenant;
    auto response = std::make_shared<Response>(
        work(*this, {.request = *exchange.request,
                     .parameter = exchange.parameter,
                     .owner = tenant,
                     .key = call.caller.key_id,
                     .sees = all ? std::nullopt : std::make_optional(tenant),
                     .pass = call.pass.get()}));
    loop_->Post([writer = exchange.writer, response] { writer->Send(std::move(*response)); });
    if (work == CreateBatch || work == CancelBatch) runner_->Pump();
  });
}

void HandleCreateFile(const Exchange& exchange) { RunOnService(exchange, CreateFile); }
void HandleListFiles(const Exchange& exchange) { RunOnService(exchange, ListFiles); }
void HandleFile(const Exchange& exchange) { RunOnService(exchange, GetFile); }
void HandleDeleteFile(const Exchange& exchange) { RunOnService(exchange, DeleteFile); }
void HandleFileContent(const Exchange& exchange) { RunOnService(exchange, FileContent); }
void HandleCreateBatch(const Exchange& exchange) { RunOnService(exchange, CreateBatch); }
void HandleListBatches(const Exchange& exchange) { RunOnService(exchange, ListBatches); }
void HandleBatch(const Exchange& exchange) { RunOnService(exchange, GetBatch); }
void HandleCancelBatch(const Exchange& exchange) { RunOnService(exchange, CancelBatch); }

}  // namespace inhouse::model_server
