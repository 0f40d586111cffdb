// Between the prefix tree in memory and its tier on disk: what is read before a prompt is computed,
// what is saved when a request ends.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/cache/disk_tier.h"
#include "engine/cache/prefix_cache.h"
#include "engine/scheduler/scheduler.h"

namespace inhouse::engine {

// Used by the engine thread only, but for the tier's results, which come on its threads. Pages are
// copied between two steps, a few at a time: a disk never holds pages that a running sequence may
// need, and no step waits for one.
class PrefixLoader {
 public:
  using Clock = std::chrono::steady_clock;

  // `wake` is called on a thread of the tier when Ready() or SaveSome() has something to do.
  PrefixLoader(PrefixCache* cache, std::unique_ptr<DiskTier> disk, std::function<void()> wake);
  ~PrefixLoader();

  // Whether the disk knows pages of the prompt that the tree does not: then the sequence is given
  // back by Ready() when they are in the tree, or when that takes too long, and must not be
  // scheduled before.
  bool Begin(Sequence* sequence, Clock::time_point now);
  std::vector<Sequence*> Ready(Clock::time_point now);
  void Forget(Sequence* sequence);  // it ends; what is read for it is for others
  bool busy() const { return !loads_.empty(); }

  // The pages of the sequence are to be saved, as far as the disk does not know them.
  void Save(Sequence* sequence);
  // Hands a few of them to the disk. False if there is nothing more to do now.
  bool SaveSome();
  // All of them, but for what a disk does not take within seconds.
  void SaveRest();

  // Tokens that were looked for on disk, and read from there.
  int64_t queries() const { return queries_; }
  int64_t hits() const { return hits_; }
  DiskTierStats disk_stats() const { return disk_->stats(); }

 private:
  struct Page {
    PrefixKey key = {};
    PrefixKey parent = {};
    std::vector<int32_t> tokens = {};
  };
  // The pages of one prompt on their way.
  struct Load {
    Sequence* sequence = nullptr;  // null once it has ended, or goes on without
    std::vector<Page> pages = {};  // all of the prompt that may be shared, from the first
    size_t next = 0;               // the first that was not asked for
    int outstanding = 0;           // reads
    bool ended = false;            // nothing more is asked for
    bool gap = false;              // a page could not be read, or not be kept
    Clock::time_point begun = {};
  };
  struct Result {
    Load* load = nullptr;
    size_t begin = 0;  // of its pages
    size_t asked = 0;
    std::vector<std::byte> bytes = {};
  };

  void AskForMore();
  bool Ask(Load* load);
  bool Insert(const Result& result);
  void GiveBack(Load* load, std::vector<Sequence*>* ready);
  void SaveEvicted(const PrefixNode& node);
  void SaveRun();

  PrefixCache* cache_;
  std::function<void()> wake_;
  std::list<Load> loads_;  // in the order in which they came
  int outstanding_ = 0;    // reads of all loads
  std::deque<PrefixKey> saves_;
  std::vector<PrefixKey> run_;  // copied already: consecutive pages of the next file
  std::vector<std::byte> run_bytes_;
  int64_t queries_ = 0;
  int64_t hits_ = 0;
  absl::Mutex mutex_;
  std::vector<Result> results_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<DiskTier> disk_;  // last: its threads end first
};

}  // namespace inhouse::engine
