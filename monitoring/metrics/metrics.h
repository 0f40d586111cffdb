// What the server counts and times, and the Prometheus text that shows it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/include/engine/engine.h"
#include "monitoring/traces/tracer.h"

namespace inhouse::monitoring {

// The model that answers; becomes labels.
struct ModelLabels {
  std::string name = {};  // as clients call it
  std::string architecture = {};
  std::string isa = {};
  int64_t context_tokens = 0;    // bounds the buckets of token counts
  std::string path = {};         // of its files: the version, where it is one of the store
  std::string fingerprint = {};  // as answers show it
};

// One finished sequence. Times in seconds; none if the phase was never reached.
struct RequestRecord {
  std::string finish_reason = {};  // stop, length, tool_calls, abort or error
  int64_t prompt_tokens = 0;
  int64_t generation_tokens = 0;
  int64_t max_tokens = 0;  // asked for
  int64_t n = 1;
  double e2e_seconds = 0;
  std::optional<double> first_token_seconds = {};
  std::optional<double> queue_seconds = {};
  std::optional<double> prefill_seconds = {};
  std::optional<double> decode_seconds = {};
};

// One HTTP exchange.
struct HttpRecord {
  std::string_view handler = {};  // the route's pattern, never the client's path
  std::string_view method = {};
  int status = 0;
  double seconds = 0;
};

// Owns all metrics of the process. Thread-safe. Nothing fails: what is counted before DescribeModel
// and needs its labels is dropped.
class Metrics {
 public:
  Metrics(std::string_view version, std::string_view commit);
  ~Metrics();

  // When a model begins to answer. The name and the buckets are the first one's: the series go on
  // when another model takes over.
  void DescribeModel(const ModelLabels& labels);
  void OnSwap(std::string_view outcome);     // done, failed or refused
  void SetTraces(const TracerStats& stats);  // before Text()
  // Models in memory, and whether another one is on its way. Before Text().
  void SetModels(int64_t resident, bool swapping);

  void OnHttp(const HttpRecord& record);
  void OnFinished(const RequestRecord& record);
  void OnTokenGap(double seconds);  // between two events of one sequence
  void OnRejected(std::string_view reason);
  void SetEngine(const engine::EngineStats& stats);  // before Text()

  std::string Text() const;  // Prometheus text format 0.0.4

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace inhouse::monitoring
