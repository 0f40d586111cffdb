// What every op gets: this thread's place in the team, the kernels of the chosen ISA level, and
// shared scratch memory.
//
// Ops are collective: every member of the team calls the same op with the same arguments and takes
// its part by its index. An op returns on a member when all of its results are visible to that
// member (it ends with a barrier).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_team.h"
#include "engine/comm/communicator.h"
#include "engine/kernels/kernel_table.h"
#include "engine/ops/step_profile.h"
#include "engine/tensor/arena.h"

namespace inhouse::engine {

// Work cut into items that members take in chunks: first from their own contiguous share (one
// sequential stream per thread, first-touched by it), then from others that are late (a stolen core
// must not stall the team).
class WorkQueue {
 public:
  explicit WorkQueue(int members) : shares_(static_cast<size_t>(members)) {}

  // Called by every member before a barrier, and not before all have drained the last work (an op
  // ends with a barrier).
  void Reset(const base::TeamMember& member, int64_t items);

  // Calls `work(begin, end)` for chunks of at most `chunk` items until none is left anywhere.
  template <typename Work>
  void Drain(const base::TeamMember& member, int64_t chunk, const Work& work) {
    for (int i = 0; i < member.count(); ++i) {
      Share& share = shares_[static_cast<size_t>((member.index() + i) % member.count())];
      while (true) {
        const int64_t begin = share.next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= share.end) break;
        work(begin, begin + chunk < share.end ? begin + chunk : share.end);
      }
    }
  }

 private:
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  std::vector<Share> shares_;
};

// Memory that ops share within one step; sized once. Owned by the runtime, used by one team at a
// time.
class OpScratch {
 public:
  // `packed_bytes` for packed activations, `member_bytes` for each member's own use.
  OpScratch(int members, size_t packed_bytes, size_t member_bytes);

  std::byte* packed() const { return packed_.data(); }
  size_t packed_bytes() const { return packed_.size(); }
  std::byte* member(int index) const {
    return own_.data() + member_bytes_ * static_cast<size_t>(index);
  }
  size_t member_bytes() const { return member_bytes_; }
  WorkQueue& queue() { return queue_; }

 private:
  Arena packed_;
  size_t member_bytes_;
  Arena own_;
  WorkQueue queue_;
};

class Linear;

// The rows that a product is about to multiply.
struct ProductInput {
  const float* data = nullptr;  // [rows][ld]
  int64_t ld = 0;
  int64_t rows = 0;
};

// Sees the inputs of the products of a step: how quantization learns what a layer is used for.
class ProductObserver {
 public:
  virtual ~ProductObserver() = default;
  // Called by every member before the product; each may look at its share. Must not write.
  virtual void Observe(const base::TeamMember& member, const Linear& linear,
                       const ProductInput& x) = 0;
};

// One per member and step; not shared.
struct OpContext {
  const base::TeamMember& member;
  const KernelTable& kernels;
  OpScratch& scratch;
  Communicator& comm;
  StepClock* clock = nullptr;           // of member 0, when a profile is wanted
  ProductObserver* observer = nullptr;  // none: nobody looks

  // What was done since the last mark was `op`.
  void Mark(OpClass op) const {
    if (clock != nullptr) clock->Mark(op);
  }
};

}  // namespace inhouse::engine
