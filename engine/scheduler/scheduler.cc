#include "engine/scheduler/scheduler.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "base/check.h"

namespace inhouse::engine {

namespace {

// A small finite number in every type that pages may hold (float16 0.08, float8 0.8). Untouched
// memory would be one shared page of zeros, which costs nothing to read.
constexpr int kFilling = 0x2D;

std::span<const int32_t> TokensOfPage(const Sequence& sequence, int64_t page) {
  return std::span(sequence.tokens).subspan(static_cast<size_t>(page * kPageTokens), kPageTokens);
}

const PrefixKey& ParentKey(const Sequence& sequence, int64_t page) {
  return page == 0 ? *sequence.root : sequence.keys[static_cast<size_t>(page) - 1];
}

// The sequence's tokens fill that page.
const PrefixKey& KeyOfPage(Sequence& sequence, int64_t page) {
  for (auto next = static_cast<int64_t>(sequence.keys.size()); next <= page; ++next) {
    sequence.keys.push_back(PageKey(ParentKey(sequence, next), TokensOfPage(sequence, next)));
  }
  return sequence.keys[static_cast<size_t>(page)];
}

}  // namespace

Scheduler::Scheduler(const StepLimits& limits, PrefixCache* cache)
    : limits_(limits), cache_(cache) {}

void Scheduler::Add(Sequence* sequence) { waiting_.push_back(sequence); }

void Scheduler::Remove(Sequence* sequence) {
  ReleasePages(sequence);
  std::erase(running_, sequence);
  std::erase(waiting_, sequence);
}

std::optional<Step> Scheduler::Next() {
  Step step;
  in_step_.clear();
  AddDecodes(&step);
  AddPrefills(&step);
  Admit(&step);
  if (step.parts.empty()) return std::nullopt;
  // Slices refer to page lists, which no longer change.
  for (const StepPart& part : step.parts) {
    const int64_t row = step.plan.rows();
    const Sequence& s = *part.sequence;
    step.plan.sequences.push_back({s.page_data, s.computed, part.tokens, row});
    step.plan.tokens.insert(step.plan.tokens.end(), s.tokens.begin() + s.computed,
                            s.tokens.begin() + s.computed + part.tokens);
    for (int64_t i = part.tokens - part.logits; i < part.tokens; ++i)
      step.plan.logit_rows.push_back(row + i);
    for (int64_t i = part.tokens - part.hidden; i < part.tokens; ++i)
      step.plan.hidden_rows.push_back(row + i);
  }
  return step;
}

void Scheduler::Commit(const Step& step) {
  for (const StepPart& part : step.parts) {
    part.sequence->computed += part.tokens;
    Publish(part.sequence);
  }
}

// Takes what the prefix tree has of the tokens that come next, and says how many. The last token is
// always computed: its logits are wanted.
int64_t Scheduler::Reuse(Sequence* sequence) {
  Sequence& s = *sequence;
  if (!s.root || s.every_row() || s.computed != s.published * kPageTokens) return 0;
  const int64_t before = s.computed;
  while (s.computed + kPageTokens < static_cast<int64_t>(s.tokens.size())) {
    const PrefixKey& key = KeyOfPage(s, s.published);
    const std::optional<PageId> page =
        cache_->Acquire(key, ParentKey(s, s.published), TokensOfPage(s, s.published));
    if (!page) break;
    s.pages.push_back(*page);
    s.page_data.push_back(cache_->pool().data(*page));
    s.computed += kPageTokens;
    ++s.published;
  }
  return s.computed - before;
}

void Scheduler::CountHits(Sequence* sequence, int64_t tokens) {
  if (!sequence->root || sequence->every_row()) return;
  if (!std::exchange(sequence->looked_up, true)) prefix_queries_ += sequence->prompt_tokens;
  if (sequence->preempted) return;  // what it finds was computed for itself
  sequence->cached += tokens;
  prefix_hits_ += tokens;
}

void Scheduler::Publish(Sequence* sequence) {
  Sequence& s = *sequence;
  if (!s.root) return;
  for (; (s.published + 1) * kPageTokens <= s.computed; ++s.published) {
    const auto at = static_cast<size_t>(s.published);
    const PrefixKey& key = KeyOfPage(s, s.published);
    s.pages[at] =
        cache_->Publish(key, ParentKey(s, s.published), TokensOfPage(s, s.published), s.pages[at]);
    s.page_data[at] = cache_->pool().data(s.pages[at]);
  }
}

// Whether the page that the sequence would compute next is in the step already, for the same
// tokens: a moment later it can be shared.
bool Scheduler::ComputedByAnother(Sequence& sequence) const {
  if (!sequence.root || sequence.every_row() || sequence.computed % kPageTokens != 0) return false;
  if (sequence.computed + kPageTokens >= static_cast<int64_t>(sequence.tokens.size())) return false;
  return in_step_.contains(KeyOfPage(sequence, sequence.computed / kPageTokens));
}

void Scheduler::AddPart(Sequence* sequence, int64_t tokens, Step* step) {
  const bool last = sequence->computed + tokens == static_cast<int64_t>(sequence->tokens.size());
  int64_t logits = last ? 1 : 0;
  if (sequence->all_logits) {
    logits =
        std::clamp<int64_t>(sequence->computed + tokens - sequence->logits_from, logits, tokens);
  }
  int64_t hidden = 0;
  if (sequence->hidden != HiddenRows::kNone) {
    logits = 0;
    hidden = sequence->hidden == HiddenRows::kAll ? tokens : (last ? 1 : 0);
  }
  StepPart part{.sequence = sequence, .tokens = tokens, .logits = logits, .hidden = hidden};
  if (!step->parts.empty()) {
    const StepPart& before = step->parts.back();
    part.logits_begin = before.logits_begin + before.logits;
    part.hidden_begin = before.hidden_begin + before.hidden;
  }
  step->parts.push_back(part);
  if (!sequence->root) return;
  const int64_t full = static_cast<int64_t>(sequence->tokens.size()) / kPageTokens;
  const int64_t end_page = (sequence->computed + tokens - 1) / kPageTokens;
  for (int64_t page = sequence->computed / kPageTokens; page <= end_page && page < full; ++page) {
    in_step_.insert(KeyOfPage(*sequence, page));
  }
}

// How many tokens of a prefill fit into what the step has left.
int64_t Scheduler::ChunkOf(const Sequence& sequence, const Step& step) const {
  int64_t rows = limits_.rows;
  int64_t logits = limits_.logit_rows;
  for (const StepPart& part : step.parts) {
    rows -= part.tokens;
    logits -= part.logits;
  }
  int64_t chunk = std::min(sequence.pending(), rows);
  if (sequence.chunk_max > 0) chunk = std::min(chunk, sequence.chunk_max);
  if (sequence.hidden != HiddenRows::kNone) return chunk;
  if (sequence.all_logits) chunk = std::min(chunk, logits);
  return logits > 0 ? chunk : 0;
}

bool Scheduler::GrowPages(Sequence* sequence, int64_t tokens) {
  const int64_t needed = (sequence->computed + tokens + kPageTokens - 1) / kPageTokens;
  if (needed - static_cast<int64_t>(sequence->pages.size()) > cache_->available()) {
    return false;
  }
  while (static_cast<int64_t>(sequence->pages.size()) < needed) {
    const PageId page = *cache_->Allocate();
    if (static_cast<int64_t>(sequence->pages.size()) * kPageTokens < sequence->assumed) {
      std::memset(cache_->pool().data(page), kFilling,
                  static_cast<size_t>(cache_->pool().page_bytes()));
    }
    sequence->pages.push_back(page);
    sequence->page_data.push_back(cache_->pool().data(page));
  }
  return true;
}

void Scheduler::ReleasePages(Sequence* sequence) {
  // The last first, as the prefix tree wants it.
  while (!sequence->pages.empty()) {
    cache_->Release(sequence->pages.back());
    sequence->pages.pop_back();
  }
  sequence->page_data.clear();
  sequence->published = 0;
}

void Scheduler::Preempt() {
  INHOUSE_CHECK(running_.size() > 1,
                "a single sequence always fits (checked when it is submitted)");
  Sequence* last = running_.back();
  running_.pop_back();
  ReleasePages(last);
  last->logits_from = std::max(last->logits_from, last->computed);
  last->computed = 0;
  last->preempted = true;
  waiting_.push_front(last);
  ++preemptions_;
}

void Scheduler::AddDecodes(Step* step) {
  // By index: Preempt shortens the list from its end while it is walked.
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence* sequence = running_[i];
    if (sequence->pending() != 1) continue;
    while (i < running_.size() && !GrowPages(sequence, 1)) Preempt();
    if (i < running_.size()) AddPart(sequence, 1, step);
  }
}

void Scheduler::AddPrefills(Step* step) {
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence* sequence = running_[i];
    if (sequence->pending() <= 1) continue;
    CountHits(sequence, Reuse(sequence));
    if (ComputedByAnother(*sequence)) continue;
    const int64_t chunk = ChunkOf(*sequence, *step);
    // A sequence that already stands in the step must not lose its pages: wait for the next step
    // instead.
    if (chunk > 0 && GrowPages(sequence, chunk)) AddPart(sequence, chunk, step);
  }
}

void Scheduler::Admit(Step* step) {
  for (size_t i = 0; i < waiting_.size() && running() < limits_.sequences;) {
    Sequence* sequence = waiting_[i];
    sequence->computed = std::max(sequence->computed, sequence->assumed);
    const int64_t taken = Reuse(sequence);
    const bool deferred = ComputedByAnother(*sequence);
    const int64_t chunk = deferred ? 0 : ChunkOf(*sequence, *step);
    if (chunk <= 0 || !GrowPages(sequence, chunk)) {
      // While it waits it holds nothing: those that run must be able to take every page.
      ReleasePages(sequence);
      sequence->computed = 0;
      if (!deferred) break;
      ++i;
      continue;
    }
    CountHits(sequence, taken);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    running_.push_back(sequence);
    AddPart(sequence, chunk, step);
  }
  if (!step->parts.empty() || running_.empty()) return;
  // Prefills block each other's last pages: the one that came last steps back.
  Preempt();
  AddPrefills(step);
}

}  // namespace inhouse::engine
