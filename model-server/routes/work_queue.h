// One thread for what would keep the io thread too long: reading JSON, templates, tokenizing.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "absl/synchronization/mutex.h"

namespace inhouse::model_server {

// Runs work in order, on one thread. Thread-safe.
class WorkQueue {
 public:
  explicit WorkQueue(size_t length_max);
  ~WorkQueue();  // what waits is dropped

  // False if the queue is full.
  bool Add(std::function<void()> work);
  // For work that ends a request: is never refused.
  void AddLast(std::function<void()> work);

 private:
  void Run();

  const size_t length_max_;
  absl::Mutex mutex_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace inhouse::model_server
