// The directory that a quantized model is written to: what may be in it, what is already done, and
// the disk below it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/quantize/plan.h"

namespace inhouse::engine {

// Finished files stand under their names (they arrive by rename); config.json comes last, so a
// directory without it is unfinished. Each weight file carries `key` in its metadata: it is the
// digest of everything that decides its bytes, and tells which files of an interrupted run may be
// kept. Holds a lock on the directory while it lives: a second run is refused.
class OutputDirectory {
 public:
  // Makes the directory if need be. AlreadyExists for one with a finished model (unless `force`) or
  // with files that no run of this plan makes; Unavailable while another run holds it. Removes what
  // interrupted runs left half-written, and with `force` the weights of the model that was there.
  static absl::StatusOr<std::unique_ptr<OutputDirectory>> Open(const std::string& path,
                                                               const QuantPlan& plan,
                                                               const std::string& key, bool force);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  std::string PathOf(std::string_view file) const;
  // Whether the shard is there, whole, and of this plan.
  bool Finished(const PlannedShard& shard) const;
  // ResourceExhausted, with both numbers, if fewer than `bytes` are free.
  absl::Status CheckSpace(int64_t bytes) const;

 private:
  OutputDirectory(std::string path, std::string key)
      : path_(std::move(path)), key_(std::move(key)) {}
  absl::Status Lock();
  absl::Status CheckContents(const QuantPlan& plan, bool force) const;

  std::string path_;
  std::string key_;
  int lock_ = -1;
};

// The key of the metadata under which a shard carries its plan's key.
inline constexpr char kPlanKeyName[] = "inhouse.plan";

}  // namespace inhouse::engine
