// The packed weights of a model: made at load, or mapped from a file that an earlier run saved.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "base/thread_team.h"
#include "engine/formats/packed_file.h"
#include "engine/ops/linear.h"
#include "engine/tensor/arena.h"

namespace inhouse::engine {

// One run of memory with the panels of all products, one product after another. Owned by the model,
// as are the products, which must outlive it; used from the engine thread.
class WeightMemory {
 public:
  explicit WeightMemory(std::vector<Linear*> linears);

  int64_t bytes() const { return bytes_; }
  bool loaded() const { return loaded_; }
  // Stored bytes of all products.
  int64_t stored_bytes() const;

  // What a file of these panels says about them; `isa` and `fingerprint` are the caller's. Before
  // they are loaded.
  PackedHeader Describe() const;

  // Packs all products in one run of the team: nobody waits for the others between them. `progress`
  // gets bytes done and in all, on the calling thread; where it says false, so does this, and
  // nothing is loaded.
  bool Pack(base::ThreadTeam& team, const std::function<bool(int64_t, int64_t)>& progress);

  // Uses the file's panels where they lie, after a look at one of each matrix. The file must match
  // Describe(). FailedPrecondition if it holds something else after all; then nothing has changed.
  absl::Status Map(base::ThreadTeam& team, std::unique_ptr<PackedFile> file);

  // Packs one product at a time into memory of its own, and hands it out: `bytes` stand at `offset`
  // and hold the sections from `section` on. Stops at the first error. Loads nothing.
  struct Piece {
    int64_t offset;
    std::span<const std::byte> bytes;
    size_t section;
    size_t section_count;
  };
  absl::Status ForEach(base::ThreadTeam& team,
                       const std::function<absl::Status(const Piece&)>& take) const;

 private:
  void Attach(const std::byte* memory);

  std::vector<Linear*> linears_;
  std::vector<int64_t> offsets_;  // of each product
  int64_t bytes_ = 0;
  bool loaded_ = false;
  Arena arena_;
  std::unique_ptr<PackedFile> file_;
};

}  // namespace inhouse::engine
