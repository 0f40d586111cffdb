#include "model-server/routes/app.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "model-server/routes/adapters.h"
#include "model-server/routes/batches.h"
#include "model-server/routes/chat.h"
#include "model-server/routes/completion.h"
#include "model-server/routes/control.h"
#include "model-server/routes/dialects.h"
#include "model-server/routes/embeddings.h"
#include "model-server/routes/model_admin.h"
#include "model-server/routes/router.h"
#include "model-server/routes/tokens.h"

namespace inhouse::model_server {
namespace {

constexpr size_t kLoadsMax = 16;  // adapters that wait to be loaded

using Work = void (*)(const std::shared_ptr<const Request>& request, GenerationSetup setup);

// Hands a request to the worker thread. If the client leaves while it waits, it is dropped there.
void RunOnWorker(const Exchange& exchange, Work work) {
  Context* context = exchange.context;
  if (const auto error = CheckServing(*context)) {
    return exchange.writer->Send(ErrorResponse(*error));
  }
  const std::string_view coding = exchange.request->headers.Find("content-encoding");
  if (!coding.empty() && coding != "identity") {
    ApiError error = InvalidRequest("", "unsupported_content_encoding",
                                    "The body must not be compressed (Content-Encoding).");
    error.status = 415;
    return exchange.writer->Send(ErrorResponse(error));
  }
  ModelRef model = context->models.current();  // whatever is swapped later, this request keeps it
  if (model == nullptr) return exchange.writer->Send(ErrorResponse(NoModel(*context)));
  auto gone = std::make_shared<std::atomic<bool>>(false);
  exchange.writer->OnClosed([gone] { *gone = true; });
  GenerationSetup setup{.context = context,
                        .model = std::move(model),
                        .writer = exchange.writer,
                        .call = exchange.call,
                        .request_id = exchange.request->id,
                        .arrival = std::chrono::steady_clock::now()};
  const bool added =
      context->worker->Add([work, gone, request = exchange.request, setup = std::move(setup)] {
        if (!*gone) work(request, setup);
      });
  if (!added) {
    context->metrics->OnRejected("prepare_queue_full");
    exchange.writer->Send(ErrorResponse(
        Overloaded("Too many requests are waiting to be read.", context->RetryAfterSeconds())));
  }
}

}  // namespace

// Probes of an orchestrator have no key: the first two need none, and say nothing but alive and
// ready. Address lists hold for them, too. A route that says nothing is for administrators.
std::vector<Route> Routes() {
  using enum guard::Scope;
  return {
      {"GET", "/livez", HandleLive, kPublic},
      {"GET", "/readyz", HandleReady, kPublic},
      {"GET", "/health", HandleReady, kInfo},
      {"GET", "/metrics", HandleMetrics, kMetrics},
      {"GET", "/version", HandleVersion, kInfo},
      {"GET", "/openapi.json", HandleOpenApi, kInfo},
      {"GET", "/tokenizer_info", HandleTokenizerInfo, kInfo},
      {"GET", "/v1/models", HandleModels, kInfo},
      {"GET", "/v1/models/{id}", HandleModel, kInfo},
      {"POST", "/v1/chat/completions", [](const Exchange& e) { RunOnWorker(e, RunChat); }, kChat},
      {"POST", "/v1/completions", [](const Exchange& e) { RunOnWorker(e, RunCompletion); }, kChat},
      {"POST", "/v1/embeddings", [](const Exchange& e) { RunOnWorker(e, RunEmbeddings); }, kEmbed},
      {"GET", "/admin/model", HandleModelState, kAdmin},
      {"POST", "/admin/model/swap", HandleSwapModel, kAdmin},
      {"POST", "/admin/model/rollback", HandleRollBackModel, kAdmin},
      {"POST", "/v1/load_lora_adapter", HandleLoadAdapter, kAdmin},
      {"POST", "/v1/unload_lora_adapter", HandleUnloadAdapter, kAdmin},
      {"POST", "/v1/responses", [](const Exchange& e) { RunOnWorker(e, RunResponses); }, kChat},
      {"POST", "/v1/messages", [](const Exchange& e) { RunOnWorker(e, RunMessages); }, kChat},
      {"POST", "/v1/messages/count_tokens",
       [](const Exchange& e) { RunOnWorker(e, RunCountTokens); }, kInfo},
      {"POST", "/v1/files", HandleCreateFile, kBatch},
      {"GET", "/v1/files", HandleListFiles, kBatch},
      {"GET", "/v1/files/{id}/content", HandleFileContent, kBatch},
      {"GET", "/v1/files/{id}", HandleFile, kBatch},
      {"DELETE", "/v1/files/{id}", HandleDeleteFile, kBatch},
      {"POST", "/v1/batches", HandleCreateBatch, kBatch},
      {"GET", "/v1/batches", HandleListBatches, kBatch},
      {"POST", "/v1/batches/{id}/cancel", HandleCancelBatch, kBatch},
      {"GET", "/v1/batches/{id}", HandleBatch, kBatch},
      {"POST", "/tokenize", [](const Exchange& e) { RunOnWorker(e, RunTokenize); }, kInfo},
      {"POST", "/detokenize", [](const Exchange& e) { RunOnWorker(e, RunDetokenize); }, kInfo},
  };
}

namespace {

// What a key that has left a batch here gets for a line, once it is not valid any more.
ApiError KeyIsGone() {
  ApiError error = InvalidRequest("", "invalid_api_key",
                                  "The API key that made this batch is not valid any more.");
  error.status = 401;
  error.type = "authentication_error";
  return error;
}

// A line of a batch goes the way of a request of its endpoint, with the models and the tokens of
// the key that made it.
void DispatchLine(Context* context, std::shared_ptr<const Request> request,
                  std::shared_ptr<ResponseWriter> writer, const std::string& key) {
  auto call = std::make_shared<Call>();
  if (context->options.guard != nullptr && !key.empty()) {
    call->pass = context->options.guard->PassOf(key);
    if (call->pass == nullptr) return writer->Send(ErrorResponse(KeyIsGone()));
    call->caller = call->pass->caller();
  }
  static constexpr std::pair<std::string_view, Work> kWorks[] = {{"/v1/chat/completions", RunChat},
                                                                 {"/v1/completions", RunCompletion},
                                                                 {"/v1/embeddings", RunEmbeddings},
                                                                 {"/v1/responses", RunResponses}};
  for (const auto& [endpoint, work] : kWorks) {
    if (request->target != endpoint) continue;
    return RunOnWorker({.context = context,
                        .request = std::move(request),
                        .writer = std::move(writer),
                        .call = std::move(call)},
                       work);
  }
}

}  // namespace

App::App(const AppOptions& options, Loop* loop, monitoring::Metrics* metrics)
    : context_(std::make_shared<Context>()),
      swap_(context_.get()),
      worker_(std::make_unique<WorkQueue>(options.prepare_queue_max)),
      loader_(std::make_unique<WorkQueue>(kLoadsMax)) {
  context_->options = options;
  context_->loop = loop;
  context_->metrics = metrics;
  context_->worker = worker_.get();
  router_ = std::make_shared<Router>(context_.get(), Routes());
  context_->loader = loader_.get();
  context_->swap = &swap_;
  loop->PostAfter(options.keep_alive / 4, [this] { Tick(); });
}

// The workers end first, then the engine, whose callbacks only post.
App::~App() {
  swap_.Stop();
  context_->batches = nullptr;
  batches_.reset();
  worker_.reset();
  loader_.reset();
  context_->active.clear();
  context_->models.StopAll();
}

absl::Status App::OpenBatches(const std::string& directory) {
  const auto dispatch = [context = context_.get()](std::shared_ptr<const Request> request,
                                                   std::shared_ptr<ResponseWriter> writer,
                                                   const std::string& key) {
    DispatchLine(context, std::move(request), std::move(writer), key);
  };
  INHOUSE_ASSIGN_OR_RETURN(batches_, BatchService::Open(directory, context_->loop, dispatch));
  context_->batches = batches_.get();
  return absl::OkStatus();
}

Handler App::handler() {
  return [router = router_](std::shared_ptr<const Request> request,
                            std::shared_ptr<ResponseWriter> writer) {
    router->Handle(std::move(request), std::move(writer));
  };
}

HeadCheck App::head_check() {
  return [router = router_](const Request& head) { return router->WillRefuse(head); };
}

ErrorBody App::error_body() {
  return [](int status, const std::string& message) {
    ApiError error{.status = status, .message = message};
    if (status == 408) error.code = "request_timeout";
    if (status == 413) error.code = "request_too_large";
    if (status == 431) error.code = "header_too_large";
    if (status >= 500) error.type = status == 503 ? "unavailable_error" : "server_error";
    return ErrorJson(error);
  };
}

void App::SetLoadProgress(int64_t done, int64_t total) {
  context_->load_percent = total <= 0 ? 0 : static_cast<int>(100 * done / total);
}

void App::Serve(std::unique_ptr<engine::Engine> engine, const engine::EngineOptions& options) {
  const std::string source = options.model.empty() ? engine->info().path : options.model;
  swap_.Begin(source, options, std::move(engine));
  context_->state = ServingState::kReady;
}

void App::Drain(double seconds_max) {
  swap_.Stop();  // which models there are does not change from here on
  if (context_->state.exchange(ServingState::kDraining) == ServingState::kLoading) return;
  const absl::Time deadline = absl::Now() + absl::Seconds(seconds_max);
  const std::vector<ModelRef> models = context_->models.living();
  for (const ModelRef& model : models) model->engine->Drain(0);  // all refuse new requests
  for (const ModelRef& model : models) {
    model->engine->Drain(std::max(absl::ToDoubleSeconds(deadline - absl::Now()), 0.0));
  }
  // What is still in flight ends with an error; posted after the engine's last events.
  absl::Notification done;
  context_->loop->Post([this, &done] {
    const auto active = context_->active;
    for (const auto& [key, generation] : active) {
      generation->Abort(Unavailable("The server is shutting down.", 5));
    }
    done.Notify();
  });
  done.WaitForNotification();
}

void App::Tick() {
  const SteadyTime now = std::chrono::steady_clock::now();
  const auto active = context_->active;  // a slow client may leave the map meanwhile
  for (const auto& [key, generation] : active) generation->Tick(now);
  context_->loop->PostAfter(context_->options.keep_alive / 4, [this] { Tick(); });
}

}  // namespace inhouse::model_server
