// Sends finished spans to a collector, a batch at a time, on a thread of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "monitoring/traces/settings.h"
#include "monitoring/traces/span.h"

namespace inhouse::monitoring {

// How one export went.
struct ExportAnswer {
  int status = 0;                  // HTTP; 0: no answer
  double retry_after_seconds = 0;  // as the collector says
};

// Sends one body to the collector; called on the tracer's thread. `cancelled` is asked meanwhile.
using ExportTransport =
    std::function<ExportAnswer(const std::string& body, const std::function<bool()>& cancelled)>;

struct TracerStats {
  int64_t exported = 0;  // spans that a collector has taken
  int64_t dropped = 0;   // that found no room in the queue
  int64_t failed = 0;    // that no collector took
};

// Thread-safe. A collector that is slow or gone costs spans, never a request: what does not fit the
// queue is dropped and counted.
class Tracer {
 public:
  Tracer(TraceSettings settings, std::string version, ExportTransport transport);
  ~Tracer();  // one more try for what waits, for as long as one export may take

  const Sampler& sampler() const { return settings_.sampler; }

  // The spans of one request, which go or are dropped together.
  void Add(std::vector<Span> spans) ABSL_LOCKS_EXCLUDED(mutex_);

  TracerStats stats() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  // False: to be stopped.
  bool AwaitBatch(std::vector<Span>* batch) ABSL_LOCKS_EXCLUDED(mutex_);
  void Export(const std::vector<Span>& batch);
  bool Sleep(double seconds) ABSL_LOCKS_EXCLUDED(mutex_);  // false: to be stopped

  const TraceSettings settings_;
  const std::string version_;
  const ExportTransport transport_;
  std::vector<Attribute> resource_;
  mutable absl::Mutex mutex_;
  std::deque<Span> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time give_up_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  TracerStats stats_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace inhouse::monitoring
