// inhouse serve: the OpenAI-compatible server.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "apps/inhouse/doorkeeper.h"
#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/model_loader.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/reload.h"
#include "apps/inhouse/serve_settings.h"
#include "apps/inhouse/trace_export.h"
#include "apps/inhouse/verb.h"
#include "base/build_id.h"
#include "base/log.h"
#include "base/status.h"
#include "fmt/format.h"
#include "model-server/net/server.h"
#include "model-server/routes/app.h"
#include "model-server/routes/recorder.h"
#include "monitoring/metrics/metrics.h"

namespace inhouse::apps {
namespace {

using model_server::App;
using model_server::Server;
using model_server::ServerOptions;

constexpr size_t kFilesBesideConnections = 64;
constexpr auto kPoll = std::chrono::milliseconds(50);

// Each connection is a file: asks for as many as are allowed, and takes no more connections than
// that.
void FitConnections(ServerOptions* options) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  const size_t files = limit.rlim_cur;
  const size_t most = files > 2 * kFilesBesideConnections ? files - kFilesBesideConnections : 64;
  options->connections_max = std::min(options->connections_max, most);
}

// Loads on a thread of its own, so that a signal can end the process meanwhile.
absl::StatusOr<std::unique_ptr<engine::Engine>> LoadWatched(const engine::EngineOptions& options,
                                                            App* app) {
  absl::StatusOr<std::unique_ptr<engine::Engine>> engine = absl::CancelledError("interrupted");
  std::atomic<bool> done = false;
  std::thread loader([&] {
    ProgressBar bar("loading");
    engine = engine::Engine::Load(options, [&bar, app](int64_t bytes, int64_t total) {
      bar.Set(static_cast<uint64_t>(bytes), static_cast<uint64_t>(total));
      app->SetLoadProgress(bytes, total);
      return true;
    });
    done = true;
  });
  while (!done) {
    // Nothing is in flight and nothing was written: the shortest way out is the right one.
    if (Interrupted()) std::_Exit(kInterrupted);
    std::this_thread::sleep_for(kPoll);
  }
  loader.join();
  return engine;
}

std::string BaseUrl(const ServerOptions& options, uint16_t port) {
  const bool ipv6 = options.host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(ipv6 ? "{}://[{}]:{}" : "{}://{}:{}"),
                     options.tls.cert_file.empty() ? "http" : "https", options.host, port);
}

// Who may come in, and where that is written down.
absl::StatusOr<std::unique_ptr<Doorkeeper>> SetUpGuard(ServeSettings* settings) {
  INHOUSE_ASSIGN_OR_RETURN(auto keeper, Doorkeeper::Start(settings->guard));
  settings->app.guard = keeper->guard();
  const bool proven = keeper->keys_required() || !settings->server.tls.client_ca_file.empty();
  settings->server.loopback_only = !proven && !settings->guard.insecure_no_auth;
  if (!IsLoopback(settings->server.host)) {
    if (!proven) spdlog::warn("whoever can reach the port may do everything: no key is asked for");
    if (settings->server.tls.cert_file.empty()) {
      spdlog::warn("keys and texts travel unencrypted, unless a proxy in front speaks TLS");
    }
  }
  if (!settings->request_log.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(settings->app.request_log,
                             model_server::RequestLog::Open(settings->request_log));
  }
  return keeper;
}

// What is kept of answers, for `replay`.
absl::Status SetUpRecorder(ServeSettings* settings) {
  if (settings->record_dir.empty()) return absl::OkStatus();
  const model_server::RecorderOptions record = {
      .directory = settings->record_dir,
      .bytes_max = static_cast<int64_t>(settings->record_gib * double{1 << 30}),
      .engine = {.version = INHOUSE_VERSION, .commit = INHOUSE_COMMIT, .build = base::BuildId()}};
  INHOUSE_ASSIGN_OR_RETURN(settings->app.recorder, model_server::Recorder::Open(record));
  return absl::OkStatus();
}

absl::Status Serve(ServeSettings flags,
                   const std::function<absl::StatusOr<ServeSettings>()>& read) {
  ServeSettings given = flags;
  if (flags.engine.model.empty()) {
    return base::InvalidInput(
        {.field = "--model", .expected = "a model, here or as model.path of the configuration"});
  }
  // A model of the store is served under the name by which it was asked for.
  std::error_code ignored;
  if (flags.app.served_names.empty() && !std::filesystem::exists(flags.engine.model, ignored)) {
    flags.app.served_names = {flags.engine.model.substr(0, flags.engine.model.find('@'))};
  }
  INHOUSE_RETURN_IF_ERROR(SetAdapters(&flags));
  INHOUSE_RETURN_IF_ERROR(SetUpKvCache(&flags));
  const engine::EngineOptions asked = flags.engine;
  const auto loader =
      std::make_shared<ServeLoader>(RootOf(flags.model_root, IsLoopback(flags.server.host)));
  INHOUSE_ASSIGN_OR_RETURN(const engine::EngineOptions exact,
                           loader->Plan({.model = asked.model, .trusted = true, .options = asked}));
  flags.Apply();
  flags.app.version = INHOUSE_VERSION;
  flags.app.commit = INHOUSE_COMMIT;
  FitConnections(&flags.server);
  const model_server::TlsOptions& tls = flags.server.tls;
  if (tls.cert_file.empty() != tls.key_file.empty() ||
      (tls.cert_file.empty() && !tls.client_ca_file.empty())) {
    return base::InvalidInput(
        {.field = "tls.cert, tls.key", .expected = "both a certificate and its key, or neither"});
  }
  INHOUSE_ASSIGN_OR_RETURN(const auto keeper, SetUpGuard(&flags));
  INHOUSE_RETURN_IF_ERROR(SetUpRecorder(&flags));
  INHOUSE_ASSIGN_OR_RETURN(flags.app.tracer, OpenTracer(flags.traces, INHOUSE_VERSION));
  CatchHangups();
  INHOUSE_ASSIGN_OR_RETURN(const auto server, Server::Listen(flags.server));
  monitoring::Metrics metrics(flags.app.version, flags.app.commit);
  App app(flags.app, server.get(), &metrics);
  if (!flags.batches_dir.empty()) INHOUSE_RETURN_IF_ERROR(app.OpenBatches(flags.batches_dir));
  // From here on /livez answers; everything that needs the model says that it is being loaded.
  server->Start(app.handler(), App::error_body(), app.head_check());
  absl::StatusOr<std::unique_ptr<engine::Engine>> engine = LoadWatched(exact, &app);
  if (engine.ok()) {
    ReportPacked(**engine);
    if (absl::Status status = CheckServable(**engine); !status.ok()) engine = std::move(status);
  }
  if (!engine.ok()) {
    server->Shutdown(1);
    return std::move(engine).status();
  }
  app.swap().SetLoader(loader);
  app.Serve(*std::move(engine), asked);
  fmt::print("listening on {}\n", BaseUrl(flags.server, server->port()));
  std::fflush(stdout);
  Reload reload({given, read, flags.app.request_log.get(), *keeper, *server, app});
  while (!Interrupted()) {
    std::this_thread::sleep_for(kPoll);
    keeper->Tick();
    if (TakeHangup()) reload.Run();
  }
  spdlog::info("draining: at most {:.0f} s; a second signal ends at once", flags.drain_seconds);
  keeper->Save();
  app.Drain(flags.drain_seconds);
  server->Shutdown(5);
  keeper->Save();
  spdlog::info("drained");
  return absl::OkStatus();
}

void AddListenFlags(CLI::App& app, ServeSettings* flags) {
  app.add_option("--host", flags->server.host, "address to listen on; 0.0.0.0 = all of them")
      ->capture_default_str();
  app.add_option("-p,--port", flags->server.port, "0 = any free one, printed when ready")
      ->capture_default_str();
  app.add_option("--served-name", flags->app.served_names,
                 "name for clients; may be repeated (default: the store's, the file's or the "
                 "directory's)")
      ->allow_extra_args(false);
  app.add_option("--drain-seconds", flags->drain_seconds,
                 "after SIGTERM or Ctrl-C, requests in flight may go on for so long")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
  app.add_option("--keep-alive-seconds", flags->keep_alive_seconds,
                 "a comment is sent on a stream that is silent for so long")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 3600.0));
  app.add_option("--body-seconds", flags->body_seconds,
                 "a client that takes longer to send its request's body is cut off")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 86400.0));
  app.add_option("--request-log", flags->request_log,
                 "a line of JSON for each request, without its content; '-' = standard error");
  app.add_option("--otlp-endpoint", flags->traces.endpoint,
                 "send traces, without content, to this OpenTelemetry collector (default: the "
                 "variable OTEL_EXPORTER_OTLP_ENDPOINT; without both, nowhere)");
  app.add_option("--tls-cert", flags->server.tls.cert_file,
                 "PEM certificate of the server with its chain: HTTPS instead of HTTP");
  app.add_option("--tls-key", flags->server.tls.key_file, "its private key");
  app.add_option("--tls-client-ca", flags->server.tls.client_ca_file,
                 "only clients with a certificate of these get in (mTLS)");
  app.add_option("--header-seconds", flags->header_seconds,
                 "a client that takes longer to send its request's header is cut off")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 3600.0));
  app.add_option("--connections", flags->server.connections_max, "open connections at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--body-mib", flags->body_mib_max, "MiB of one request's body at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
}

void AddAdapterFlags(CLI::App& app, ServeSettings* flags) {
  app.add_option("--model-root", flags->model_root,
                 "clients may have models swapped in from below this directory (default: from "
                 "anywhere if --host is this machine alone, else only those of the store)");
  app.add_option("--adapter", flags->adapters,
                 "NAME=DIR: a LoRA adapter (PEFT directory), served as model 'model:NAME'; may be "
                 "repeated")
      ->allow_extra_args(false);
  app.add_option("--adapter-root", flags->adapter_root,
                 "clients may have adapters loaded from below this directory (default: from "
                 "anywhere if --host is this machine alone, else from nowhere)");
  app.add_option("--max-adapters", flags->engine.adapters_max, "loaded at the same time at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  app.add_option("--max-adapter-rank", flags->engine.adapter_rank_max,
                 "rank of an adapter that is loaded later at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  app.add_option("--adapter-mib", flags->adapter_mib,
                 "MiB for all adapters, set aside at the start (default: what memory is left)")
      ->check(CLI::Range(1, 1 << 24));
}

void AddDiskFlags(CLI::App& app, ServeSettings* flags) {
  app.add_option("--record", flags->record_dir,
                 "directory that keeps every answer with its prompt, in clear text, for `inhouse "
                 "replay` (default: nothing is kept)");
  app.add_option("--record-gib", flags->record_gib, "GiB of it at most; the oldest answers go")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 1e6));
  app.add_option("--kv-disk", flags->engine.kv_disk,
                 "directory in which prefixes survive restarts, encrypted (default: none)");
  app.add_option("--kv-disk-gib", flags->kv_disk_gib,
                 "GiB of it at most; what was not used for longest goes")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 1e6));
  app.add_option("--kv-disk-key", flags->kv_disk_key_file,
                 "file with the secret of --kv-disk, 32 bytes or more, that only its owner can "
                 "read");
}

}  // namespace

VerbRun SetUpServe(CLI::App& app) {
  auto flags = std::make_shared<ServeSettings>();
  AddEngineFlags(app, &flags->engine);
  app.get_option("--model")->required(false);  // it may stand in the configuration
  auto config = std::make_shared<std::string>();
  app.add_option("--config", *config,
                 "inhouse.toml: flags that are given go before it; read again on SIGHUP")
      ->envname("INHOUSE_CONFIG");
  AddListenFlags(app, flags.get());
  AddGuardFlags(app, &flags->guard);
  AddAdapterFlags(app, flags.get());
  app.add_option("--kv-gib", flags->kv_gib,
                 "GiB for the keys and values of all conversations, set aside at the start "
                 "(default: four whole contexts, or half of what memory is left)")
      ->check(CLI::Range(0.001, 1e6));
  app.add_option("--max-sequences", flags->engine.max_sequences,
                 "answers that are made at the same time")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  const std::map<std::string, engine::Pooling> poolings = {{"mean", engine::Pooling::kMean},
                                                           {"last", engine::Pooling::kLast}};
  app.add_option("--pooling", flags->app.pooling,
                 "how /v1/embeddings makes one vector of a text's hidden states: mean or last")
      ->transform(CLI::CheckedTransformer(poolings).description(""))
      ->option_text("mean|last [mean]");
  app.add_option("--batches-dir", flags->batches_dir,
                 "keep files and run batches in this directory (default: neither)");
  app.add_option("--queue", flags->engine.queue_max,
                 "answers that may wait for their turn; more get a 429")
      ->capture_default_str()
      ->check(CLI::Range(0, 1'000'000));
  AddPrefillChunk(app, &flags->engine);
  app.add_option("--step-ms", flags->engine.step_ms,
                 "while answers go on, new prompts are computed in pieces that take so long "
                 "together with them")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 60000.0));
  app.add_option_function<std::string>(
         "--scheduling-policy",
         [flags](const std::string& value) { flags->app.client_priority = value == "priority"; },
         "fair: tenants take turns; priority: also, a request's `priority` may be negative to pass "
         "all others")
      ->default_str("fair")
      ->check(CLI::IsMember({"fair", "priority"}));
  app.add_option_function<std::string>(
         "--prefix-cache",
         [flags](const std::string& value) { flags->engine.prefix_cache = value == "on"; },
         "on: prompts that begin alike share what was computed; off: each is computed alone")
      ->default_str("on")
      ->check(CLI::IsMember({"on", "off"}));
  AddDiskFlags(app, flags.get());
  return [flags, config, &app]() -> int {
    // The file is read over the defaults, then the flags that were given over the file.
    const auto read = [flags, config, &app]() -> absl::StatusOr<ServeSettings> {
      ServeSettings settings;
      if (!config->empty()) INHOUSE_RETURN_IF_ERROR(LoadSettings(*config, &settings));
      *flags = settings;
      for (CLI::Option* option : app.get_options()) {
        if (option->count() > 0) option->run_callback();
      }
      return *flags;
    };
    absl::StatusOr<ServeSettings> settings = read();
    const absl::Status status =
        settings.ok() ? Serve(*std::move(settings), read) : settings.status();
    return status.ok() ? int{kDone} : ReportError(status, false);
  };
}

}  // namespace inhouse::apps
