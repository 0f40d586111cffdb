// Where the time of steps goes, by kind of op.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace inhouse::engine {

enum class OpClass : uint8_t {
  kEmbed,
  kNorm,       // of the hidden state, of q and k
  kQkv,        // projections that attention reads
  kRope,       // the table and the rotation
  kAttention,  // storing keys and values included
  kO,          // projection of what attention gives
  kGateUp,
  kActivation,  // SwiGLU
  kDown,
  kAdd,   // residual additions
  kHead,  // logits
  kOther,
};
constexpr size_t kOpClasses = 12;

std::string_view Name(OpClass op);  // "qkv", "gate_up", ...

// Sums over steps. A value: copy it and subtract.
struct StepProfile {
  int64_t steps = 0;
  int64_t rows = 0;  // tokens computed
  std::array<double, kOpClasses> seconds = {};

  double total() const;
  StepProfile Since(const StepProfile& earlier) const;
};

// Held by member 0 of the team during one step; the others have none. Ops end with a barrier, so
// what passes between two marks on one member is what the team took. A mark costs about 25 ns.
class StepClock {
 public:
  explicit StepClock(StepProfile* profile) : profile_(profile) {}

  // The time since the last mark went into `op`.
  void Mark(OpClass op) {
    const Clock::time_point now = Clock::now();
    profile_->seconds[static_cast<size_t>(op)] +=
        std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  using Clock = std::chrono::steady_clock;
  StepProfile* profile_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace inhouse::engine
