// /v1/files and /v1/batches: a directory of uploads, and the batches that run their lines.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model-server/routes/batch_runner.h"
#include "model-server/routes/router.h"

namespace inhouse::model_server {

// Owns the store, its thread and the runner. Made before the listener starts and destroyed after it
// has ended.
class BatchService {
 public:
  // Goes on with what a kill has interrupted, as soon as the model is served.
  static absl::StatusOr<std::unique_ptr<BatchService>> Open(const std::string& directory,
                                                            Loop* loop, BatchDispatch dispatch);
  ~BatchService();

  // Runs on the service's thread, where answers may take as long as a disk does. False: too many
  // wait.
  struct Asked {
    const Request& request;
    std::string parameter;            // an id
    std::string owner;                // whose things the caller makes
    std::string key;                  // "": nobody in particular
    std::optional<std::string> sees;  // whose things the caller finds; none: everybody's
    const guard::Pass* pass;          // null: there is no guard
  };
  using Work = Response (*)(BatchService& service, const Asked& asked);
  bool Run(const Exchange& exchange, Work work);

  BatchStore& store() { return *store_; }
  BatchRunner& runner() { return *runner_; }

 private:
  BatchService(std::unique_ptr<BatchStore> store, Loop* loop, BatchDispatch dispatch);
  void Tick();

  Loop* loop_;
  std::unique_ptr<BatchStore> store_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // io thread
  std::shared_ptr<BatchRunner> runner_;
  std::unique_ptr<WorkQueue> queue_;  // ends first
};

void HandleCreateFile(const Exchange& exchange);
void HandleListFiles(const Exchange& exchange);
void HandleFile(const Exchange& exchange);
void HandleDeleteFile(const Exchange& exchange);
void HandleFileContent(const Exchange& exchange);
void HandleCreateBatch(const Exchange& exchange);
void HandleListBatches(const Exchange& exchange);
void HandleBatch(const Exchange& exchange);
void HandleCancelBatch(const Exchange& exchange);

}  // namespace inhouse::model_server
