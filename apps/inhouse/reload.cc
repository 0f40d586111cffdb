#include "apps/inhouse/reload.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"
#include "base/status.h"
#include "model-server/net/tls.h"

namespace inhouse::apps {

struct Reload::Taken {
  absl::Mutex mutex;
  std::optional<ServeSettings> settings ABSL_GUARDED_BY(mutex);
};

Reload::Reload(const Parts& parts) : parts_(parts), taken_(std::make_shared<Taken>()) {}

void Reload::Run() {
  // A log that was rotated away is opened anew, whatever the configuration says.
  if (parts_.log != nullptr) {
    if (const absl::Status status = parts_.log->Reopen(); !status.ok()) {
      spdlog::error("the request log goes on in the old file: {}", base::Message(status));
    }
  }
  {
    absl::MutexLock lock(&taken_->mutex);
    if (taken_->settings) TakeModel(*taken_->settings, &parts_.given);
    taken_->settings.reset();
  }
  if (const absl::Status status = TryRun(); !status.ok()) {
    spdlog::error("nothing was reloaded: {}", base::Message(status));
  }
}

// Everything or nothing: what is wrong in a file must not end a server that works, nor leave it
// with half of a change. Only the model comes later, as it takes longer.
absl::Status Reload::TryRun() {
  INHOUSE_ASSIGN_OR_RETURN(ServeSettings wanted, parts_.read());
  const std::vector<std::string> restart = NeedRestart(parts_.given, wanted);
  INHOUSE_RETURN_IF_ERROR(ReloadTls(wanted));
  for (const std::string& field : restart) {
    spdlog::warn("{} has changed, which takes a restart", field);
  }
  if (!ModelChanged(parts_.given, wanted)) return absl::OkStatus();
  if (const absl::Status status = ReloadModel(std::move(wanted)); !status.ok()) {
    spdlog::error("the model that serves goes on: {}", base::Message(status));
  }
  return absl::OkStatus();
}

absl::Status Reload::ReloadTls(const ServeSettings& wanted) {
  ServeSettings& given = parts_.given;
  const model_server::TlsOptions& files = wanted.server.tls;
  // Where it may listen was decided by whether clients have to prove who they are.
  if (given.server.tls.client_ca_file.empty() != files.client_ca_file.empty()) {
    return base::InputError(absl::StatusCode::kFailedPrecondition,
                            {.field = "tls.client_ca",
                             .value = files.client_ca_file,
                             .expected = "to be set, or not to be, as at the start",
                             .hint = "This changes with a restart only."});
  }
  std::shared_ptr<const model_server::TlsContext> tls;
  if (!given.server.tls.cert_file.empty() && !files.cert_file.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(tls, model_server::TlsContext::Load(files));
  }
  INHOUSE_RETURN_IF_ERROR(parts_.keeper.Reload(wanted.guard));
  if (tls != nullptr) {
    parts_.server.SetTls(std::move(tls));
    given.server.tls = files;
    spdlog::info("certificates read again; open connections keep theirs");
  }
  return absl::OkStatus();
}

// Beside the one that answers. What was not taken over counts as changed the next time, too.
absl::Status Reload::ReloadModel(ServeSettings wanted) {
  INHOUSE_RETURN_IF_ERROR(SetAdapters(&wanted));
  INHOUSE_RETURN_IF_ERROR(SetUpKvCache(&wanted));
  model_server::SwapRequest request{
      .model = wanted.engine.model, .trusted = true, .options = wanted.engine};
  const std::vector<engine::AdapterSource>& stay = wanted.engine.adapters;
  for (const std::string& adapter : parts_.given.adapters) {
    const std::string name = adapter.substr(0, adapter.find('='));
    const bool stays = std::any_of(stay.begin(), stay.end(),
                                   [&name](const auto& source) { return source.name == name; });
    if (!stays) request.adapters_gone.push_back(name);
  }
  // That it was refused, failed or done, the swap says in the log.
  const auto ended = [taken = taken_, wanted](const model_server::SwapReport& report) {
    absl::MutexLock lock(&taken->mutex);
    if (report.status.ok()) taken->settings = wanted;
  };
  return parts_.app.swap().Start(
      std::move(request), [](const model_server::SwapReport&) {}, ended);
}

}  // namespace inhouse::apps
