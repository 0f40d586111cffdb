#include "model-server/routes/work_queue.h"

#include <utility>

namespace inhouse::model_server {

WorkQueue::WorkQueue(size_t length_max) : length_max_(length_max), thread_([this] { Run(); }) {}

WorkQueue::~WorkQueue() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

bool WorkQueue::Add(std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  if (stop_ || waiting_.size() >= length_max_) return false;
  waiting_.push_back(std::move(work));
  return true;
}

void WorkQueue::AddLast(std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  if (!stop_) waiting_.push_back(std::move(work));
}

void WorkQueue::Run() {
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || !waiting_.empty();
  };
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&ready));
      if (stop_) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    work();
  }
}

}  // namespace inhouse::model_server
