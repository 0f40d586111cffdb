// How `serve` finds and loads models: the first one, and those that are swapped in.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "model-server/routes/model_swap.h"

namespace inhouse::apps {

// The same options with a path that the engine opens, and with the bytes of its KV cache fixed;
// says on stderr what the model will take. Refuses what does not fit before anything is loaded.
absl::StatusOr<engine::EngineOptions> PlanServed(const model_server::ModelLoader::Wanted& wanted);

// Loads models for a running server. Thread-safe.
class ServeLoader final : public model_server::ModelLoader {
 public:
  // Where models may be that are asked for over HTTP and are not of the store; none: nowhere.
  explicit ServeLoader(std::optional<std::string> root) : root_(std::move(root)) {}

  absl::StatusOr<engine::EngineOptions> Plan(const Wanted& wanted) override;
  absl::StatusOr<std::unique_ptr<engine::Engine>> Load(
      const engine::EngineOptions& options, const engine::Engine::Progress& progress) override;

 private:
  absl::StatusOr<std::string> Find(const std::string& model) const;

  const std::optional<std::string> root_;
};

// Whether a server can do anything with it: it has a tokenizer.
absl::Status CheckServable(const engine::Engine& engine);

}  // namespace inhouse::apps
