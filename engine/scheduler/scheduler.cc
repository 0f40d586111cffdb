#include "engine/scheduler/scheduler.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace inhouse::engine {

namespace {

// A small finite number in every type that pages may hold (float16 0.08, float8 0.8). Untouched
// memory would be one shared page of zeros, which costs nothing to read.
constexpr int kFilling = 0x2D;

constexpr const char* kOneFits = "a single sequence always fits (checked when it is submitted)";

// Who is served first.
bool Before(const Sequence* a, const Sequence* b) {
  return std::tie(a->priority, a->account->served, a->arrival) <
         std::tie(b->priority, b->account->served, b->arrival);
}

}  // namespace

std::span<const int32_t> TokensOfPage(const Sequence& sequence, int64_t page) {
  return std::span(sequence.tokens).subspan(static_cast<size_t>(page * kPageTokens), kPageTokens);
}

const PrefixKey& ParentKey(const Sequence& sequence, int64_t page) {
  return page == 0 ? *sequence.root : sequence.keys[static_cast<size_t>(page) - 1];
}

const PrefixKey& KeyOfPage(Sequence& sequence, int64_t page) {
  for (auto next = static_cast<int64_t>(sequence.keys.size()); next <= page; ++next) {
    sequence.keys.push_back(PageKey(ParentKey(sequence, next), TokensOfPage(sequence, next)));
  }
  return sequence.keys[static_cast<size_t>(page)];
}

Scheduler::Scheduler(const StepLimits& limits, PrefixCache* cache)
    : limits_(limits), cache_(cache) {}

void Scheduler::Add(Sequence* sequence) {
  sequence->arrival = arrivals_++;
  sequence->account = shares_.Enter(sequence->tenant);
  waiting_.push_back(sequence);
}

void Scheduler::Remove(Sequence* sequence) {
  ReleasePages(sequence);
  std::erase(running_, sequence);
  std::erase(waiting_, sequence);
  if (sequence->account == nullptr) return;  // it was never added
  shares_.Leave(std::exchange(sequence->account, nullptr));
}

std::optional<Step> Scheduler::Next() {
  Step step;
  in_step_.clear();
  rows_left_ = limits_.rows;
  logits_left_ = limits_.logit_rows;
  YieldToPriority();
  AddDecodes(&step);
  if (!step.parts.empty()) rows_left_ = std::min(rows_left_, prefill_rows_);
  AddPrefills(&step);
  if (step.parts.empty() && !running_.empty()) {
    // Prefills block each other's last pages: the last of them steps back.
    INHOUSE_CHECK(running_.size() > 1, kOneFits);
    Preempt();
    // What was freed is for those that run: whoever waits, the preempted one too, would block them
    // again.
    const std::vector<Sequence*> waiting = std::exchange(waiting_, {});
    AddPrefills(&step);
    waiting_.insert(waiting_.end(), waiting.begin(), waiting.end());
  }
  if (step.parts.empty()) return std::nullopt;
  // Slices refer to page lists, which no longer change.
  for (const StepPart& part : step.parts) {
    const int64_t row = step.plan.rows();
    const Sequence& s = *part.sequence;
    step.plan.adapters.push_back(s.adapter);
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
    const bool answer = part.sequence->computed >= part.sequence->prompt_tokens;
    part.sequence->account->served += part.tokens * (answer ? FairShare::kAnswerWeight : 1);
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
  if (sequence->preempted) return;  // what it finds was computed for itself
  if (!std::exchange(sequence->looked_up, true)) prefix_queries_ += sequence->prompt_tokens;
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
  rows_left_ -= tokens;
  logits_left_ -= logits;
  if (!sequence->root) return;
  const int64_t full = static_cast<int64_t>(sequence->tokens.size()) / kPageTokens;
  const int64_t end_page = (sequence->computed + tokens - 1) / kPageTokens;
  for (int64_t page = sequence->computed / kPageTokens; page <= end_page && page < full; ++page) {
    in_step_.insert(KeyOfPage(*sequence, page));
  }
}

// How many tokens of a prefill fit into what the step has left.
int64_t Scheduler::ChunkOf(const Sequence& sequence) const {
  int64_t chunk = std::min(sequence.pending(), rows_left_);
  if (sequence.chunk_max > 0) chunk = std::min(chunk, sequence.chunk_max);
  if (sequence.hidden != HiddenRows::kNone) return chunk;
  if (sequence.all_logits) chunk = std::min(chunk, logits_left_);
  return logits_left_ > 0 ? chunk : 0;
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
  Sequence* last = running_.back();
  running_.pop_back();
  ReleasePages(last);
  last->logits_from = std::max(last->logits_from, last->computed);
  last->computed = 0;
  last->preempted = true;
  waiting_.push_back(last);  // with the number of its first arrival
  ++preemptions_;
}

// A place, or the pages of its first chunk, for the best of those that wait, from those that run
// with a higher number.
void Scheduler::YieldToPriority() {
  if (waiting_.empty() || running_.empty()) return;
  const Sequence* best = *std::ranges::min_element(waiting_, Before);
  const int64_t chunk = std::min(best->pending(), limits_.rows);
  const int64_t pages = (chunk + kPageTokens - 1) / kPageTokens;
  int64_t could = cache_->available();  // at most, if all of a higher number step back
  for (const Sequence* s : running_) {
    if (s->priority > best->priority) could += static_cast<int64_t>(s->pages.size());
  }
  if (running() < limits_.sequences && could < pages) return;
  while (!running_.empty() && running_.back()->priority > best->priority &&
         (running() >= limits_.sequences || cache_->available() < pages)) {
    Preempt();
  }
}

void Scheduler::AddDecodes(Step* step) {
  // By index: Preempt shortens the list from its end while it is walked.
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence* sequence = running_[i];
    if (sequence->pending() != 1) continue;
    while (i < running_.size() && !GrowPages(sequence, 1)) {
      INHOUSE_CHECK(running_.size() > 1, kOneFits);
      Preempt();
    }
    if (i < running_.size()) AddPart(sequence, 1, step);
  }
}

// Pages for so many more tokens, if need be from those that run with a higher number and have no
// part in the step: what stands in it must not lose its pages.
bool Scheduler::MakeRoom(Sequence* sequence, int64_t tokens, const Step& step) {
  while (!GrowPages(sequence, tokens)) {
    if (running_.empty() || running_.back()->priority <= sequence->priority) return false;
    const Sequence* last = running_.back();
    const auto is_last = [last](const StepPart& part) { return part.sequence == last; };
    if (std::ranges::any_of(step.parts, is_last)) return false;
    Preempt();
  }
  return true;
}

void Scheduler::AddPrefills(Step* step) {
  std::vector<Sequence*> candidates;
  for (Sequence* sequence : running_) {
    if (sequence->pending() > 1) candidates.push_back(sequence);
  }
  if (running() < limits_.sequences) {
    candidates.insert(candidates.end(), waiting_.begin(), waiting_.end());
  }
  std::ranges::sort(candidates, Before);
  bool admit = true;  // false: pages are short, and who comes next must not take the last ones
  for (Sequence* sequence : candidates) {
    if (rows_left_ <= 0 || logits_left_ <= 0) return;
    if (std::ranges::find(running_, sequence) != running_.end()) {
      admit = Continue(sequence, step) && admit;
    } else if (admit && running() < limits_.sequences) {
      admit = Admit(sequence, step);
    }
  }
}

// False: it needs pages that there are not.
bool Scheduler::Continue(Sequence* sequence, Step* step) {
  CountHits(sequence, Reuse(sequence));
  if (ComputedByAnother(*sequence)) return true;
  const int64_t chunk = ChunkOf(*sequence);
  if (!MakeRoom(sequence, chunk, *step)) return false;
  AddPart(sequence, chunk, step);
  return true;
}

// False: it needs pages that there are not.
bool Scheduler::Admit(Sequence* sequence, Step* step) {
  sequence->computed = std::max(sequence->computed, sequence->assumed);
  const int64_t taken = Reuse(sequence);
  const bool deferred = ComputedByAnother(*sequence);
  const int64_t chunk = deferred ? 0 : ChunkOf(*sequence);
  if (deferred || !MakeRoom(sequence, chunk, *step)) {
    // While it waits it holds nothing: those that run must be able to take every page.
    ReleasePages(sequence);
    sequence->computed = 0;
    return deferred;
  }
  CountHits(sequence, taken);
  std::erase(waiting_, sequence);
  const auto place = std::ranges::upper_bound(running_, sequence, [](const auto* a, const auto* b) {
    return std::tie(a->priority, a->arrival) < std::tie(b->priority, b->arrival);
  });
  running_.insert(place, sequence);
  AddPart(sequence, chunk, step);
  return true;
}

}  // namespace inhouse::engine
