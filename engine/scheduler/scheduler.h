// Which tokens are computed in the next step: sequences and a page budget -> StepPlan. Pure policy:
// no clock, no threads.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "engine/cache/prefix_cache.h"
#include "engine/models/step_plan.h"
#include "engine/scheduler/fair_share.h"

namespace inhouse::engine {

// Which final hidden states of a sequence are wanted, instead of logits.
enum class HiddenRows : uint8_t { kNone, kLast, kAll };

// One sequence being generated. Owned by the caller; the scheduler changes `computed` and the
// pages.
struct Sequence {
  std::vector<int32_t> tokens;  // prompt and answer so far
  int64_t prompt_tokens = 0;
  int priority = 0;         // lower numbers first
  std::string tenant = {};  // tenants take turns
  int64_t computed = 0;     // tokens whose keys and values are in the pages
  bool all_logits = false;  // logits of every row, not only of the last
  int64_t logits_from =
      0;  // with all_logits: rows before this token were delivered earlier (before a preemption)
  HiddenRows hidden = HiddenRows::kNone;
  const ModelAdapter* adapter = nullptr;  // held by the owner
  int64_t chunk_max = 0;  // prefill at most so many tokens a step; 0 = as many as the step takes
  // For measurements: so many first tokens count as computed when the sequence is admitted; their
  // pages hold a filling instead of keys and values.
  int64_t assumed = 0;
  // Who may share its pages, and with whom (RootKey); none: they are its own.
  std::optional<PrefixKey> root = {};
  int64_t cached = 0;  // of the prompt, taken from the prefix tree when it was first admitted
  std::vector<PageId> pages = {};
  std::vector<std::byte*> page_data = {};
  int64_t published = 0;             // of the pages, from the first on: those of the prefix tree
  std::vector<PrefixKey> keys = {};  // of its full pages, as far as they were needed
  bool looked_up = false;            // it was counted as a query
  int64_t arrival = 0;               // its number, and its account: the scheduler's
  FairShare::Tenant* account = nullptr;
  bool preempted = false;

  // Something is wanted of each of its tokens, so none may be taken from the prefix tree.
  bool every_row() const { return all_logits || hidden == HiddenRows::kAll; }
  int64_t pending() const { return static_cast<int64_t>(tokens.size()) - computed; }
};

// The names of a sequence's pages in the prefix tree; it has a root, and its tokens fill the page.
std::span<const int32_t> TokensOfPage(const Sequence& sequence, int64_t page);
const PrefixKey& KeyOfPage(Sequence& sequence, int64_t page);
const PrefixKey& ParentKey(const Sequence& sequence, int64_t page);  // after KeyOfPage

// What a step does for one sequence.
struct StepPart {
  Sequence* sequence = nullptr;
  int64_t tokens = 0;        // computed by the step
  int64_t logits_begin = 0;  // index of its first logits
  int64_t logits = 0;        // how many rows of logits
  int64_t hidden_begin = 0;  // index of its first hidden state
  int64_t hidden = 0;        // how many hidden states: of its last tokens in this step
};

struct Step {
  StepPlan plan;
  std::vector<StepPart> parts;
};

// Continuous batching: every running sequence decodes one token a step, and what is left of the
// step's rows is filled with prefill chunks. Who is first: the lower priority number, then the
// tenant that was served least, then who came first. When pages run out, the sequence with the
// highest priority number that came last gives all its pages back and is computed again later (its
// bytes stay the same: results do not depend on the batch).
//
// Full pages go to the prefix tree as soon as they are computed. A sequence takes from it what it
// would compute next, whenever it is at the beginning of a page, and waits a step where another
// sequence of the step computes just that. Used by the engine thread only.
class Scheduler {
 public:
  Scheduler(const StepLimits& limits, PrefixCache* cache);

  void Add(Sequence* sequence);
  void Remove(Sequence* sequence);  // finished or cancelled: gives its pages back

  // At most so many rows of prompts in a step in which answers go on: what bounds its time. The
  // scheduler has no clock; whoever has one sets it between steps.
  void set_prefill_rows(int64_t rows) { prefill_rows_ = rows; }

  // The next step; none if there is nothing to do.
  std::optional<Step> Next();
  // The step was computed: its tokens are in the pages.
  void Commit(const Step& step);

  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t preemptions() const { return preemptions_; }
  // Prompt tokens that were looked for in the prefix tree, and found there.
  int64_t prefix_queries() const { return prefix_queries_; }
  int64_t prefix_hits() const { return prefix_hits_; }

 private:
  void AddPart(Sequence* sequence, int64_t tokens, Step* step);
  int64_t Reuse(Sequence* sequence);
  void CountHits(Sequence* sequence, int64_t tokens);
  void Publish(Sequence* sequence);
  bool ComputedByAnother(Sequence& sequence) const;
  int64_t ChunkOf(const Sequence& sequence) const;
  bool GrowPages(Sequence* sequence, int64_t tokens);  // false: not enough free pages
  void ReleasePages(Sequence* sequence);
  void Preempt();  // the last of those that run
  void YieldToPriority();
  bool MakeRoom(Sequence* sequence, int64_t tokens, const Step& step);
  void AddDecodes(Step* step);
  void AddPrefills(Step* step);
  bool Continue(Sequence* sequence, Step* step);
  bool Admit(Sequence* sequence, Step* step);

  StepLimits limits_;
  PrefixCache* cache_;
  FairShare shares_;
  std::vector<Sequence*> running_;  // by priority, then arrival: the last is preempted first
  std::vector<Sequence*> waiting_;
  int64_t arrivals_ = 0;
  int64_t prefill_rows_ = std::numeric_limits<int64_t>::max();
  int64_t rows_left_ = 0;  // for prompts, in the step that is being made
  int64_t logits_left_ = 0;
  std::unordered_set<PrefixKey, PrefixKeyHash> in_step_;  // pages that the step works on
  int64_t preemptions_ = 0;
  int64_t prefix_queries_ = 0;
  int64_t prefix_hits_ = 0;
};

}  // namespace inhouse::engine
