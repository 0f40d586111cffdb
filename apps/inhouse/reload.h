// SIGHUP: a running server takes over a changed configuration.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/inhouse/doorkeeper.h"
#include "apps/inhouse/serve_settings.h"
#include "model-server/net/server.h"
#include "model-server/routes/app.h"
#include "model-server/routes/request_log.h"

namespace inhouse::apps {

// Used by the main thread; outlived by what it refers to.
class Reload {
 public:
  struct Parts {
    ServeSettings& given;  // as flags and file said when they were last taken over
    const std::function<absl::StatusOr<ServeSettings>()>& read;
    model_server::RequestLog* log;  // null: none
    Doorkeeper& keeper;
    model_server::Server& server;
    model_server::App& app;
  };
  explicit Reload(const Parts& parts);

  // Says in the log what was taken over, what was not, and why.
  void Run();

 private:
  struct Taken;

  absl::Status TryRun();
  absl::Status ReloadTls(const ServeSettings& wanted);
  absl::Status ReloadModel(ServeSettings wanted);

  const Parts parts_;
  std::shared_ptr<Taken> taken_;  // by swaps that have ended since
};

}  // namespace inhouse::apps
