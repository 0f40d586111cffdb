// The disk tier of the prefix tree: pages that outlive memory and the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/cache/disk_directory.h"
#include "engine/cache/disk_index.h"
#include "engine/cache/kv_file.h"

namespace inhouse::engine {

struct DiskTierOptions {
  std::string directory = {};  // may be that of other models and servers, too
  // Beyond, the files that were not used for longest are deleted: those of models that no engine
  // serves first.
  int64_t bytes_max = 0;
  KvFormat format = {};
};

struct DiskTierStats {
  bool ready = false;  // false: another engine with this model has the directory
  int64_t files = 0;
  int64_t bytes = 0;
  int64_t refused = 0;       // files that were damaged: deleted, never used
  int64_t read_errors = 0;   // of the system; the pages are computed
  int64_t write_errors = 0;  // a full disk costs later hits, nothing else
  int64_t dropped = 0;       // pages that were not written because the disk did not keep up
};

// Files of pages (kv_file.h), found by the keys of their pages. One thread reads, another one, of
// lower priority, writes, so that neither the engine nor a reader ever waits for a slow disk's
// writes. Thread-safe.
//
// What cannot be verified is deleted, with a line in the log, and is as if it had never been there.
// While another engine (an older one of this process, another server) has the model's directory,
// the tier is empty; it looks again each second.
class DiskTier {
 public:
  // Creates the directory and looks at every file. The system's error if it cannot be used.
  static absl::StatusOr<std::unique_ptr<DiskTier>> Open(const DiskTierOptions& options);
  ~DiskTier();  // what is queued is written first; reads are given up
  DiskTier(const DiskTier&) = delete;
  DiskTier& operator=(const DiskTier&) = delete;

  // Whether the page is there; also one that is still to be written, which is read from memory.
  bool Contains(const PrefixKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Pages as one file; `bytes` are theirs, one after the other. Dropped if there is no room.
  void Write(std::vector<PrefixKey> keys, std::vector<std::byte> bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether so many bytes can be queued; when that may have changed, `on_room` is called on a
  // thread of the tier.
  bool CanQueue(int64_t bytes) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Pages that would have been written, had there been room.
  void CountDropped(int64_t pages) ABSL_LOCKS_EXCLUDED(mutex_);
  void set_on_room(std::function<void()> on_room) ABSL_LOCKS_EXCLUDED(mutex_);

  // The pages' bytes, one after the other, up to the first that is not there or refused. `done` is
  // called on a thread of the tier, in the order of the calls.
  using Done = std::function<void(std::vector<std::byte> bytes)>;
  void Read(std::vector<PrefixKey> keys, Done done) ABSL_LOCKS_EXCLUDED(mutex_);

  // Until everything that was queued is written, or for so long.
  void AwaitWrites(absl::Duration most) const ABSL_LOCKS_EXCLUDED(mutex_);
  DiskTierStats stats() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct WriteJob {
    std::vector<PrefixKey> keys = {};
    std::vector<std::byte> bytes = {};
  };
  struct ReadJob {
    std::vector<PrefixKey> keys = {};
    Done done = {};
  };

  explicit DiskTier(DiskTierOptions options);
  absl::StatusOr<bool> TakeOver() ABSL_LOCKS_EXCLUDED(mutex_);
  bool AwaitDirectory() ABSL_LOCKS_EXCLUDED(mutex_);  // false: the tier ends
  void TellRoom() ABSL_LOCKS_EXCLUDED(mutex_);
  void RunReads() ABSL_LOCKS_EXCLUDED(mutex_);
  void RunWrites() ABSL_LOCKS_EXCLUDED(mutex_);
  void WriteNow(const WriteJob& job) ABSL_LOCKS_EXCLUDED(mutex_);
  void ReadNow(const ReadJob& job) ABSL_LOCKS_EXCLUDED(mutex_);
  bool ReadOne(const PrefixKey& key, std::span<std::byte> out) ABSL_LOCKS_EXCLUDED(mutex_);
  void MakeRoom(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  const DiskTierOptions options_;
  DiskDirectory directory_;    // used by one thread at a time: Open's, then the writer's
  int64_t other_bytes_ = 0;    // of directories that no engine uses; the writer's
  bool write_failed_ = false;  // the last one; the writer's
  mutable absl::Mutex mutex_;
  DiskIndex index_ ABSL_GUARDED_BY(mutex_);
  // Where a page is that is still to be written.
  struct QueuedPage {
    std::shared_ptr<const WriteJob> job = {};
    size_t index = 0;
  };
  std::unordered_map<PrefixKey, QueuedPage, PrefixKeyHash> queued_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<const WriteJob>> writes_ ABSL_GUARDED_BY(mutex_);
  std::deque<ReadJob> reads_ ABSL_GUARDED_BY(mutex_);
  int64_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::function<void()> on_room_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  DiskTierStats stats_ ABSL_GUARDED_BY(mutex_);
  std::thread reader_;
  std::thread writer_;
};

}  // namespace inhouse::engine
