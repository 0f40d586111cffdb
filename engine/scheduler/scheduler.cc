#include "engine/scheduler/scheduler.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace inhouse::engine {

namespace {

// A small finite number in every type that pages may hold (float16 0.08, float8 0.8). Untouched
// memory would be one shared page of zeros, which costs nothing to read.
constexpr int kFilling = 0x2D;

}  // namespace

Scheduler::Scheduler(const StepLimits& limits, PagePool* pool) : limits_(limits), pool_(pool) {}

void Scheduler::Add(Sequence* sequence) { waiting_.push_back(sequence); }

void Scheduler::Remove(Sequence* sequence) {
  ReleasePages(sequence);
  std::erase(running_, sequence);
  std::erase(waiting_, sequence);
}

std::optional<Step> Scheduler::Next() {
  Step step;
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
  for (const StepPart& part : step.parts) part.sequence->computed += part.tokens;
}

void Scheduler::AddPart(Sequence* sequence, int64_t tokens, Step* step) const {
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
  if (needed - static_cast<int64_t>(sequence->pages.size()) > pool_->free()) return false;
  while (static_cast<int64_t>(sequence->pages.size()) < needed) {
    const PageId page = *pool_->Allocate();
    if (static_cast<int64_t>(sequence->pages.size()) * kPageTokens < sequence->assumed) {
      std::memset(pool_->data(page), kFilling, static_cast<size_t>(pool_->page_bytes()));
    }
    sequence->pages.push_back(page);
    sequence->page_data.push_back(pool_->data(page));
  }
  return true;
}

void Scheduler::ReleasePages(Sequence* sequence) {
  for (const PageId page : sequence->pages) pool_->Release(page);
  sequence->pages.clear();
  sequence->page_data.clear();
}

void Scheduler::Preempt() {
  INHOUSE_CHECK(running_.size() > 1,
                "a single sequence always fits (checked when it is submitted)");
  Sequence* last = running_.back();
  running_.pop_back();
  ReleasePages(last);
  last->logits_from = std::max(last->logits_from, last->computed);
  last->computed = 0;
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
    const int64_t chunk = ChunkOf(*sequence, *step);
    // A sequence that already stands in the step must not lose its pages: wait for the next step
    // instead.
    if (chunk > 0 && GrowPages(sequence, chunk)) AddPart(sequence, chunk, step);
  }
}

void Scheduler::Admit(Step* step) {
  while (!waiting_.empty() && running() < limits_.sequences) {
    Sequence* sequence = waiting_.front();
    sequence->computed = std::max(sequence->computed, sequence->assumed);
    const int64_t chunk = ChunkOf(*sequence, *step);
    if (chunk <= 0 || !GrowPages(sequence, chunk)) break;
    waiting_.pop_front();
    running_.push_back(sequence);
    AddPart(sequence, chunk, step);
  }
  if (!step->parts.empty() || running_.empty()) return;
  // Prefills block each other's last pages: the one that came last steps back.
  Preempt();
  AddPrefills(step);
}

}  // namespace inhouse::engine
