// One file while it is being fetched: which ranges of it lie on the disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lifecycle/hub/hub.h"

namespace inhouse::lifecycle {

// [begin, end) of the file, of which the first `done` bytes are written.
struct PartRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t done = 0;
  uint64_t best = 0;  // the most that `done` has been: what counts as progress
  int failures = 0;   // without progress in between
  bool busy = false;  // a worker is at it

  bool complete() const { return begin + done == end; }
};

// A descriptor that closes itself when its last user has gone.
class PartFile {
 public:
  static absl::StatusOr<std::shared_ptr<PartFile>> Open(const std::string& path, uint64_t size,
                                                        bool keep_content);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  absl::Status Write(uint64_t offset, std::span<const std::byte> bytes) const;
  absl::Status Sync() const;

 private:
  PartFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

// Not synchronised: Fetcher's lock guards it, but for the file's bytes, which ranges keep apart.
struct Part {
  enum class State : uint8_t { kWaiting, kOpen, kVerifying, kFinished };

  RemoteFile remote = {};
  std::string part_path = {};
  std::string state_path = {};
  std::string final_path = {};
  State state = State::kWaiting;
  std::shared_ptr<PartFile> file = {};
  std::vector<PartRange> ranges = {};
  std::string etag = {};     // of what lies on the disk
  std::string direct = {};   // where the hub's redirect led; "" = ask the hub
  bool ranges_work = false;  // a 206 was seen: other ranges may start
  bool resumed = false;      // bytes of an earlier process or attempt are in it
  bool redone = false;       // it was started again after its digest was wrong
  int generation = 0;        // grows when everything is thrown away
  uint64_t best_whole = 0;   // PartRange::best of the whole file, kept over generations

  uint64_t BytesDone() const;
  bool Complete() const;

  // Opens the part and its state; what does not fit together is thrown away.
  absl::Status Open(uint64_t range_bytes);
  // Starts from nothing, in a file of its own, so that a late writer of the generation before
  // cannot disturb. One range for the whole file, or many.
  absl::Status Restart(uint64_t range_bytes);
  std::string StateJson() const;
  void RemoveFiles();

 private:
  bool LoadState();
  void SetRanges(uint64_t range_bytes);
};

}  // namespace inhouse::lifecycle
