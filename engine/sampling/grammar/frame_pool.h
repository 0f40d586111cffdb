// Where in a grammar a text can be: sets of stacks, shared and numbered, with cached steps.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "engine/sampling/grammar/automaton.h"

namespace inhouse::engine {

using FrameSetId = uint32_t;

// The top of some stacks: a position, and the positions to return to when its rule ends.
struct Frame {
  Position position = {};
  FrameSetId parents = 0;
  friend bool operator==(const Frame&, const Frame&) = default;
  friend auto operator<=>(const Frame&, const Frame&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Frame& f) {
    return H::combine(std::move(h), f.position.state, f.position.count, f.parents);
  }
};

// A graph-structured stack (Tomita 1985) whose sets are interned: equal sets have equal numbers, a
// position stands in a set once (its parents are united), so a set is never larger than the grammar
// and a step from a set by a byte can be remembered. Together that is a deterministic automaton
// that is built while it is walked. Not thread-safe.
class FramePool {
 public:
  static constexpr FrameSetId kDead = 0;  // no way on
  // Frames on a stack; what would need more is not offered, so JSON nests some 150 levels deep.
  static constexpr uint32_t kDepthMax = 512;

  explicit FramePool(const Automaton* automaton);

  FrameSetId Start();  // at the beginning of the root rule
  FrameSetId Step(FrameSetId set, uint8_t byte);
  FrameSetId StepToken(FrameSetId set, int32_t token);
  // Where the stacks of `parents` go on when what they called has ended.
  FrameSetId Return(FrameSetId parents);

  // One position that has been entered from somewhere unknown, as a set to step from: opens() tells
  // when its rule has ended. With `counted`, it is the inner rule of that counted position.
  FrameSetId Local(StateId state, const Position* counted);

  const std::vector<Frame>& frames(FrameSetId set) const { return sets_[set].frames; }
  uint32_t depth(FrameSetId set) const { return sets_[set].depth; }  // of its deepest stack
  FrameSetId Only(const Frame& frame) { return Intern({frame}); }
  bool accepts(FrameSetId set) const { return sets_[set].accepts; }  // the root rule may end here
  bool opens(FrameSetId set) const { return sets_[set].opens; }
  // Whether bytes or tokens may follow.
  bool continues(FrameSetId set) const {
    const Set& s = sets_[set];
    return s.frames.size() > static_cast<size_t>(s.accepts) + static_cast<size_t>(s.opens);
  }

  // The same set of another pool of the same automaton.
  FrameSetId Import(const FramePool& other, FrameSetId set);

  uint64_t work() const { return work_; }  // frames touched so far
  size_t memory_bytes() const;

  static bool IsPseudo(const Position& p) { return p == kRoot || p == kOpen; }

 private:
  static constexpr Position kRoot = {0x7FFFFFFE, 0};  // below the root rule
  static constexpr Position kOpen = {0x7FFFFFFF, 0};  // below Local()
  static constexpr FrameSetId kUnknown = UINT32_MAX;

  struct Set {
    std::vector<Frame> frames = {};
    std::unique_ptr<FrameSetId[]> next = {};  // by byte
    FrameSetId returned = kUnknown;
    uint32_t depth = 0;
    bool accepts = false;
    bool opens = false;
  };
  using Callers = std::map<uint32_t, std::pair<RuleId, std::vector<Frame>>>;  // by Rule::order

  FrameSetId Intern(std::vector<Frame> frames);
  FrameSetId Import(const FramePool& other, FrameSetId set,
                    absl::flat_hash_map<FrameSetId, FrameSetId>* done);
  FrameSetId Union(FrameSetId a, FrameSetId b);
  FrameSetId Close(std::vector<Frame> todo);
  void AddCalls(const Position& at, FrameSetId parents, Callers* callers);
  void Call(RuleId rule, const Position& back, FrameSetId parents, Callers* callers);
  uint32_t Need(const Position& p) const;
  bool IsViable(const Position& p, FrameSetId parents) const {
    return Need(p) + sets_[parents].depth <= kDepthMax;
  }
  bool Accepts(const Position& p) const;
  bool IsLast(const Position& p) const;  // nothing but the end of the rule
  bool Consumes(const Position& p) const;

  const Automaton& a_;
  std::deque<Set> sets_;  // references stay valid
  absl::flat_hash_map<std::vector<Frame>, FrameSetId> ids_;
  absl::flat_hash_map<std::pair<FrameSetId, FrameSetId>, FrameSetId> unions_;
  uint64_t work_ = 0;
  size_t bytes_ = 0;
};

}  // namespace inhouse::engine
