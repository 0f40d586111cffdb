// A compiled grammar, and the place of one text in it: which tokens may come next.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/sampling/grammar/automaton.h"
#include "engine/sampling/grammar/frame_pool.h"
#include "engine/sampling/grammar/grammar_spec.h"
#include "engine/sampling/grammar/token_trie.h"

namespace inhouse::engine {

using TokenMask = std::vector<uint64_t>;  // bit i: token i may come

// Shared by all texts that follow it. What it learns about tokens is kept for all of them, within
// bounds. Thread-safe.
class Grammar {
 public:
  // InvalidArgument names the part of the spec (its label, and the path within a schema).
  static absl::StatusOr<std::shared_ptr<Grammar>> Compile(const GrammarSpec& spec,
                                                          std::shared_ptr<const TokenTrie> trie,
                                                          const GrammarLimits& limits = {});

  size_t state_count() const { return automaton_.state_count(); }
  size_t memory_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  friend class GrammarMatcher;

  // What a state allows, whatever it was called from.
  struct LocalMask {
    std::vector<int32_t> few = {};       // tokens that stay inside, or ...
    TokenMask many = {};                 // ... the same as bits, where that is smaller
    std::vector<int32_t> ends = {};      // tokens with which the state's rule ends and cannot go on
    std::vector<uint32_t> escapes = {};  // nodes of the trie where the state's rule may end, or ...
    std::vector<uint64_t> many_escapes = {};  // ... the same as bits
    size_t bytes() const;
  };
  using LocalKey = std::tuple<StateId, StateId, uint32_t>;  // state, counted rule around it, count

  Grammar(Automaton automaton, std::shared_ptr<const TokenTrie> trie);

  absl::Status FillMask(FrameSetId set, TokenMask* mask) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  const LocalMask& Local(const LocalKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Marks the tokens of a subtree that a text at `set` may go on with.
  void Walk(uint32_t node, FrameSetId set, TokenMask* mask) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Marks the tokens that end the state's rule and go on behind it.
  void WalkBehind(const LocalMask& local, FrameSetId behind, TokenMask* mask)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddFrame(const Frame& frame, TokenMask* mask) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The mask that is being made takes too long, or too much memory.
  bool Exhausted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint32_t Saturated(const Position& counted) const;
  void KeepSmall() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Automaton automaton_;
  const std::shared_ptr<const TokenTrie> trie_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<FramePool> pool_ ABSL_GUARDED_BY(mutex_);  // replaced when it has grown too large
  absl::flat_hash_map<LocalKey, std::unique_ptr<LocalMask>> local_ ABSL_GUARDED_BY(mutex_);
  size_t local_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<FrameSetId, TokenMask> masks_ ABSL_GUARDED_BY(mutex_);
  uint64_t work_end_ ABSL_GUARDED_BY(mutex_) = 0;
};

// One text. Not thread-safe; several matchers may share a grammar on several threads.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(std::shared_ptr<Grammar> grammar);

  // The tokens that may come next, end tokens left out. Empty only if the text must end here.
  // InvalidArgument if the grammar is too ambiguous to find out in a reasonable time,
  // FailedPrecondition if no token of this vocabulary continues.
  absl::Status FillMask(TokenMask* mask);
  bool may_end() const { return may_end_; }
  bool must_end() const { return may_end_ && !continues_; }

  // False if the token may not come here; then nothing changes.
  bool Accept(int32_t token);
  bool AcceptText(std::string_view text);

 private:
  // The pool in which set_ is a number, brought up to date with the grammar's.
  FramePool& Pool() ABSL_EXCLUSIVE_LOCKS_REQUIRED(grammar_->mutex_);
  bool MoveTo(FrameSetId set) ABSL_EXCLUSIVE_LOCKS_REQUIRED(grammar_->mutex_);

  std::shared_ptr<Grammar> grammar_;
  std::shared_ptr<FramePool> pool_;
  FrameSetId set_ = 0;
  bool may_end_ = false;
  bool continues_ = false;
};

}  // namespace inhouse::engine
