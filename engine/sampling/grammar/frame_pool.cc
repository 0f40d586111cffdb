#include "engine/sampling/grammar/frame_pool.h"

#include <algorithm>

namespace inhouse::engine {

FramePool::FramePool(const Automaton* automaton) : a_(*automaton) {
  sets_.emplace_back();  // kDead
  ids_.emplace(std::vector<Frame>(), kDead);
}

bool FramePool::Accepts(const Position& p) const {
  if ((p.state & kCountedBit) == 0) return a_.accepts(p.state);
  return p.count >= a_.rule(p.state & ~kCountedBit).min;
}

bool FramePool::Consumes(const Position& p) const {
  return (p.state & kCountedBit) == 0 &&
         (!a_.bytes(p.state).empty() || !a_.tokens(p.state).empty());
}

bool FramePool::IsLast(const Position& p) const {
  if ((p.state & kCountedBit) != 0) return p.count == a_.rule(p.state & ~kCountedBit).max;
  return a_.accepts(p.state) && a_.calls(p.state).empty() && !Consumes(p);
}

uint32_t FramePool::Need(const Position& p) const {
  if ((p.state & kCountedBit) == 0) return a_.need(p.state);
  const Automaton::Rule& rule = a_.rule(p.state & ~kCountedBit);
  return p.count >= rule.min ? 0 : a_.rule(rule.inner).need + 1;
}

// Sorts; frames with the same position become one.
FrameSetId FramePool::Intern(std::vector<Frame> frames) {
  std::sort(frames.begin(), frames.end());
  size_t kept = 0;
  for (size_t i = 0; i < frames.size(); ++i) {
    if (kept > 0 && frames[kept - 1].position == frames[i].position) {
      frames[kept - 1].parents = Union(frames[kept - 1].parents, frames[i].parents);
    } else {
      frames[kept++] = frames[i];
    }
  }
  frames.resize(kept);
  const auto found = ids_.find(frames);
  if (found != ids_.end()) return found->second;
  const auto id = static_cast<FrameSetId>(sets_.size());
  Set& set = sets_.emplace_back();
  for (const Frame& frame : frames) {
    set.accepts = set.accepts || frame.position == kRoot;
    set.opens = set.opens || frame.position == kOpen;
    if (!IsPseudo(frame.position)) set.depth = std::max(set.depth, sets_[frame.parents].depth + 1);
  }
  bytes_ += sizeof(Set) + 2 * frames.size() * sizeof(Frame) + 64;
  set.frames = frames;
  ids_.emplace(std::move(frames), id);
  return id;
}

// As deep as the stacks are, which kDepthMax bounds.
FrameSetId FramePool::Union(FrameSetId a, FrameSetId b) {
  if (a == b || b == kDead) return a;
  if (a == kDead) return b;
  const std::pair key(std::min(a, b), std::max(a, b));
  const auto found = unions_.find(key);
  if (found != unions_.end()) return found->second;
  std::vector<Frame> frames = sets_[a].frames;
  frames.insert(frames.end(), sets_[b].frames.begin(), sets_[b].frames.end());
  work_ += frames.size();
  bytes_ += 32;
  return unions_[key] = Intern(std::move(frames));
}

void FramePool::Call(RuleId rule, const Position& back, FrameSetId parents, Callers* callers) {
  if (!IsViable(back, parents)) return;
  auto& [id, frames] = (*callers)[a_.rule(rule).order];
  id = rule;
  ++work_;
  if (IsLast(back)) {  // returning there would only return further
    const std::vector<Frame>& above = sets_[parents].frames;
    frames.insert(frames.end(), above.begin(), above.end());
    work_ += above.size();
  } else {
    frames.push_back({back, parents});
  }
}

void FramePool::AddCalls(const Position& at, FrameSetId parents, Callers* callers) {
  if ((at.state & kCountedBit) == 0) {
    for (const CallEdge& edge : a_.calls(at.state)) {
      Call(edge.rule, {edge.target, 0}, parents, callers);
    }
    return;
  }
  const Automaton::Rule& rule = a_.rule(at.state & ~kCountedBit);
  if (at.count == rule.max) return;
  // Without an upper bound there is nothing to count behind the lower one.
  const uint32_t count = rule.max == kUnbounded ? std::min(at.count + 1, rule.min) : at.count + 1;
  Call(rule.inner, {at.state, count}, parents, callers);
}

// The positions from which a byte or a token leads on, from those that one has led to.
FrameSetId FramePool::Close(std::vector<Frame> todo) {
  std::vector<Frame> out;
  Callers callers;
  absl::flat_hash_set<Frame> seen(todo.begin(), todo.end());
  while (!todo.empty()) {
    const Frame frame = todo.back();
    todo.pop_back();
    ++work_;
    if (IsPseudo(frame.position)) {
      out.push_back(frame);
      continue;
    }
    if (!IsViable(frame.position, frame.parents)) continue;
    if (Accepts(frame.position)) {
      for (const Frame& back : sets_[frame.parents].frames) {
        if (seen.insert(back).second) todo.push_back(back);
      }
    }
    if (Consumes(frame.position)) out.push_back(frame);
    AddCalls(frame.position, frame.parents, &callers);
  }
  // A rule is entered once, when all that may enter it is known: no rule begins with itself.
  while (!callers.empty()) {
    auto entry = callers.extract(callers.begin());
    const RuleId id = entry.mapped().first;
    const FrameSetId parents = Intern(std::move(entry.mapped().second));
    const Automaton::Rule& rule = a_.rule(id);
    const Position start = rule.counted ? Position{kCountedBit | id, 0} : Position{rule.start, 0};
    if (!IsViable(start, parents)) continue;
    if (Consumes(start)) out.push_back({start, parents});
    AddCalls(start, parents, &callers);
  }
  return Intern(std::move(out));
}

FrameSetId FramePool::Start() {
  const FrameSetId below = Intern({{kRoot, kDead}});
  const Automaton::Rule& rule = a_.rule(a_.root());
  const Position start =
      rule.counted ? Position{kCountedBit | a_.root(), 0} : Position{rule.start, 0};
  // Entered like any rule, by a call whose return is the end; what needs no byte may end at once.
  std::vector<Frame> todo = {{start, below}};
  return Close(std::move(todo));
}

FrameSetId FramePool::Local(StateId state, const Position* counted) {
  FrameSetId below = Intern({{kOpen, kDead}});
  if (counted != nullptr) below = Intern({{*counted, below}});
  return Intern({{{state, 0}, below}});
}

FrameSetId FramePool::Step(FrameSetId set, uint8_t byte) {
  Set& from = sets_[set];
  if (!from.next) {
    if (from.frames.empty()) return kDead;
    from.next = std::make_unique<FrameSetId[]>(256);
    std::fill_n(from.next.get(), 256, kUnknown);
    bytes_ += 256 * sizeof(FrameSetId);
  }
  FrameSetId& next = from.next[byte];
  if (next != kUnknown) return next;
  std::vector<Frame> reached;
  work_ += from.frames.size();
  for (const Frame& frame : from.frames) {
    if (IsPseudo(frame.position)) continue;
    const int64_t target = a_.Next(frame.position.state, byte);
    if (target >= 0) reached.push_back({{static_cast<StateId>(target), 0}, frame.parents});
  }
  next = reached.empty() ? kDead : Close(std::move(reached));
  return next;
}

FrameSetId FramePool::StepToken(FrameSetId set, int32_t token) {
  std::vector<Frame> reached;
  for (const Frame& frame : sets_[set].frames) {
    if (IsPseudo(frame.position)) continue;
    for (const TokenEdge& edge : a_.tokens(frame.position.state)) {
      if (edge.token == token) reached.push_back({{edge.target, 0}, frame.parents});
    }
  }
  return Close(std::move(reached));
}

FrameSetId FramePool::Return(FrameSetId parents) {
  if (sets_[parents].returned == kUnknown) {
    const FrameSetId id = Close(sets_[parents].frames);
    sets_[parents].returned = id;
  }
  return sets_[parents].returned;
}

FrameSetId FramePool::Import(const FramePool& other, FrameSetId set) {
  absl::flat_hash_map<FrameSetId, FrameSetId> done;
  return Import(other, set, &done);
}

FrameSetId FramePool::Import(const FramePool& other, FrameSetId set,
                             absl::flat_hash_map<FrameSetId, FrameSetId>* done) {
  if (set == kDead) return kDead;
  const auto found = done->find(set);
  if (found != done->end()) return found->second;
  std::vector<Frame> frames = other.frames(set);
  for (Frame& frame : frames) frame.parents = Import(other, frame.parents, done);
  return (*done)[set] = Intern(std::move(frames));
}

size_t FramePool::memory_bytes() const { return sizeof(*this) + bytes_; }

}  // namespace inhouse::engine
