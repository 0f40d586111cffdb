#include "engine/sampling/grammar/grammar.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace inhouse::engine {
namespace {

// Of one grammar. Beyond that, what was learned is forgotten and learned again.
constexpr size_t kPoolBytesMax = 8 << 20;
constexpr size_t kLocalBytesMax = 16 << 20;
constexpr size_t kMasksMax = 64;
// While one mask is made nothing can be forgotten: a grammar that would need more is refused.
constexpr size_t kPoolBytesOfAMask = 64 << 20;
// That one token may push, of the grammars that people write; beyond it Request ends the answer.
constexpr uint32_t kFramesOfAToken = 128;
// Frames touched for one mask: some 100 ms. Grammars of people stay below a hundredth of it.
constexpr uint64_t kMaskWorkMax = 2'000'000;

void Set(int32_t token, TokenMask* mask) {
  (*mask)[static_cast<size_t>(token) / 64] |= uint64_t{1} << (static_cast<size_t>(token) % 64);
}

bool HasBit(const std::vector<uint64_t>& bits, uint32_t i) {
  return (bits[i / 64] >> i % 64 & 1) != 0;
}

bool IsEmpty(const TokenMask& mask) {
  return std::all_of(mask.begin(), mask.end(), [](uint64_t word) { return word == 0; });
}

}  // namespace

Grammar::Grammar(Automaton automaton, std::shared_ptr<const TokenTrie> trie)
    : automaton_(std::move(automaton)),
      trie_(std::move(trie)),
      pool_(std::make_shared<FramePool>(&automaton_)) {}

size_t Grammar::memory_bytes() const {
  absl::MutexLock lock(&mutex_);
  return automaton_.memory_bytes() + pool_->memory_bytes() + local_bytes_ +
         masks_.size() * trie_->mask_words() * sizeof(uint64_t);
}

// The counts from which a token of any length finds the same: far from both bounds.
uint32_t Grammar::Saturated(const Position& counted) const {
  const Automaton::Rule& rule = automaton_.rule(counted.state & ~kCountedBit);
  const uint32_t longest = trie_->longest();
  if (rule.max != kUnbounded && rule.max - counted.count <= longest) return counted.count;
  if (counted.count >= rule.min) return rule.min;
  return rule.min - counted.count > longest ? 0 : counted.count;
}

const Grammar::LocalMask& Grammar::Local(const LocalKey& key) {
  std::unique_ptr<LocalMask>& slot = local_[key];
  if (slot) return *slot;
  const auto [state, counted_state, count] = key;
  const Position counted{counted_state, count};
  FramePool& pool = *pool_;
  const bool is_counted = (counted_state & kCountedBit) != 0;
  std::vector<FrameSetId> path = {pool.Local(state, is_counted ? &counted : nullptr)};
  auto local = std::make_unique<LocalMask>();
  const auto& nodes = trie_->nodes();
  for (uint32_t i = 1; i < nodes.size();) {
    path.resize(nodes[i].depth);
    const FrameSetId set = pool.Step(path.back(), nodes[i].byte);
    const auto tokens = trie_->tokens(i);
    if (pool.opens(set)) local->escapes.push_back(i);
    if (!pool.continues(set)) {
      if (pool.opens(set)) local->ends.insert(local->ends.end(), tokens.begin(), tokens.end());
      i = nodes[i].end;
      if (Exhausted()) break;
      continue;
    }
    local->few.insert(local->few.end(), tokens.begin(), tokens.end());
    path.push_back(set);
    ++i;
  }
  if (local->few.size() * sizeof(int32_t) > trie_->mask_words() * sizeof(uint64_t)) {
    local->many.resize(trie_->mask_words());
    for (const int32_t token : local->few) Set(token, &local->many);
    local->few.clear();
  }
  // Where most nodes are escapes, as in a string with a length, these are looked for the other way
  // round: from the few bytes that may come behind.
  if (local->escapes.size() > nodes.size() / 64) {
    local->many_escapes.resize((nodes.size() + 63) / 64);
    for (const uint32_t node : local->escapes) {
      local->many_escapes[node / 64] |= uint64_t{1} << (node % 64);
    }
    local->escapes.clear();
  }
  local->few.shrink_to_fit();
  local->escapes.shrink_to_fit();
  local_bytes_ += local->bytes();
  slot = std::move(local);
  return *slot;
}

size_t Grammar::LocalMask::bytes() const {
  return sizeof(LocalMask) + 64 + (few.size() + ends.size()) * sizeof(int32_t) +
         (many.size() + many_escapes.size()) * sizeof(uint64_t) + escapes.size() * sizeof(uint32_t);
}

void Grammar::WalkBehind(const LocalMask& local, FrameSetId behind, TokenMask* mask) {
  for (const int32_t token : local.ends) Set(token, mask);
  for (const uint32_t node : local.escapes) {
    Walk(node, behind, mask);
    if (Exhausted()) return;
  }
  if (local.many_escapes.empty()) return;
  for (int byte = 0; byte < 256; ++byte) {
    const FrameSetId next = pool_->Step(behind, static_cast<uint8_t>(byte));
    if (next == FramePool::kDead) continue;
    for (const uint32_t node : trie_->nodes_by(static_cast<uint8_t>(byte))) {
      if (!HasBit(local.many_escapes, trie_->parent(node))) continue;
      for (const int32_t token : trie_->tokens(node)) Set(token, mask);
      Walk(node, next, mask);
      if (Exhausted()) return;
    }
  }
}

void Grammar::Walk(uint32_t node, FrameSetId set, TokenMask* mask) {
  FramePool& pool = *pool_;
  const auto& nodes = trie_->nodes();
  const uint32_t end = nodes[node].end;
  const uint16_t base = nodes[node].depth;
  std::vector<FrameSetId> path = {set};
  for (uint32_t i = node + 1; i < end;) {
    path.resize(static_cast<size_t>(nodes[i].depth - base));
    const FrameSetId next = pool.Step(path.back(), nodes[i].byte);
    if (next == FramePool::kDead) {
      i = nodes[i].end;
      if (Exhausted()) return;
      continue;
    }
    for (const int32_t token : trie_->tokens(i)) Set(token, mask);
    path.push_back(next);
    ++i;
  }
}

void Grammar::AddFrame(const Frame& frame, TokenMask* mask) {
  FramePool& pool = *pool_;
  for (const TokenEdge& edge : automaton_.tokens(frame.position.state)) Set(edge.token, mask);
  if (automaton_.bytes(frame.position.state).empty()) return;
  // A local mask does not know how deep the stack is.
  if (pool.depth(frame.parents) + kFramesOfAToken > FramePool::kDepthMax) {
    return Walk(0, pool.Only(frame), mask);
  }
  // A string with a length is one rule for a character, called by a counted rule: each of its
  // states would be left at once. Looked at together with the counted rule it is as good as a loop.
  LocalKey key = {frame.position.state, 0, 0};
  FrameSetId parents = frame.parents;
  const std::vector<Frame>& above = pool.frames(parents);
  if (above.size() == 1 && (above[0].position.state & kCountedBit) != 0) {
    const Position& counted = above[0].position;
    if (!automaton_.rule(automaton_.rule(counted.state & ~kCountedBit).inner).calls) {
      key = {frame.position.state, counted.state, Saturated(counted)};
      parents = above[0].parents;
    }
  }
  const LocalMask& local = Local(key);
  for (const int32_t token : local.few) Set(token, mask);
  for (size_t i = 0; i < local.many.size(); ++i) (*mask)[i] |= local.many[i];
  if (local.escapes.empty() && local.many_escapes.empty()) return;
  const FrameSetId behind = pool.Return(parents);
  if (behind != FramePool::kDead) WalkBehind(local, behind, mask);
}

bool Grammar::Exhausted() const {
  return pool_->work() > work_end_ || pool_->memory_bytes() > kPoolBytesOfAMask;
}

absl::Status Grammar::FillMask(FrameSetId set, TokenMask* mask) {
  const auto found = masks_.find(set);
  if (found != masks_.end()) {
    *mask = found->second;
    return absl::OkStatus();
  }
  work_end_ = pool_->work() + kMaskWorkMax;
  mask->assign(trie_->mask_words(), 0);
  const std::vector<Frame> frames = pool_->frames(set);
  for (const Frame& frame : frames) {
    if (!FramePool::IsPseudo(frame.position)) AddFrame(frame, mask);
  }
  if (Exhausted()) {
    local_.clear();  // one of them may be cut off
    local_bytes_ = 0;
    pool_ = std::make_shared<FramePool>(&automaton_);
    masks_.clear();
    return absl::InvalidArgumentError(
        "The grammar of this request is too ambiguous: finding the tokens that may come next "
        "takes too long.");
  }
  if (masks_.size() >= kMasksMax) masks_.clear();
  masks_[set] = *mask;
  return absl::OkStatus();
}

void Grammar::KeepSmall() {
  if (local_bytes_ > kLocalBytesMax) {
    local_.clear();
    local_bytes_ = 0;
  }
  if (pool_->memory_bytes() <= kPoolBytesMax) return;
  pool_ = std::make_shared<FramePool>(&automaton_);
  masks_.clear();  // by number of a set
}

GrammarMatcher::GrammarMatcher(std::shared_ptr<Grammar> grammar) : grammar_(std::move(grammar)) {
  absl::MutexLock lock(&grammar_->mutex_);
  pool_ = grammar_->pool_;
  MoveTo(pool_->Start());
}

FramePool& GrammarMatcher::Pool() {
  grammar_->KeepSmall();
  if (pool_ != grammar_->pool_) {
    set_ = grammar_->pool_->Import(*pool_, set_);
    pool_ = grammar_->pool_;
  }
  return *pool_;
}

bool GrammarMatcher::MoveTo(FrameSetId set) {
  if (set == FramePool::kDead) return false;
  set_ = set;
  may_end_ = pool_->accepts(set);
  continues_ = pool_->continues(set);
  return true;
}

absl::Status GrammarMatcher::FillMask(TokenMask* mask) {
  absl::MutexLock lock(&grammar_->mutex_);
  Pool();
  INHOUSE_RETURN_IF_ERROR(grammar_->FillMask(set_, mask));
  if (may_end_ || !IsEmpty(*mask)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "No token of this model's vocabulary continues the answer as its grammar asks.");
}

bool GrammarMatcher::Accept(int32_t token) {
  absl::MutexLock lock(&grammar_->mutex_);
  FramePool& pool = Pool();
  const std::string_view bytes = grammar_->trie_->bytes(token);
  if (bytes.empty()) return MoveTo(pool.StepToken(set_, token));
  FrameSetId set = set_;
  for (const char c : bytes) set = pool.Step(set, static_cast<uint8_t>(c));
  return MoveTo(set);
}

bool GrammarMatcher::AcceptText(std::string_view text) {
  absl::MutexLock lock(&grammar_->mutex_);
  FramePool& pool = Pool();
  FrameSetId set = set_;
  for (const char c : text) set = pool.Step(set, static_cast<uint8_t>(c));
  return MoveTo(set);
}

}  // namespace inhouse::engine
