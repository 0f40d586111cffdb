#include "engine/scheduler/scheduler.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

std::unique_ptr<Sequence> Prompt(int64_t tokens) {
  auto sequence = std::make_unique<Sequence>();
  sequence->tokens.assign(static_cast<size_t>(tokens), 7);
  sequence->prompt_tokens = tokens;
  return sequence;
}

// Runs one step and gives every sequence whose logits came a new token.
std::vector<int64_t> RunStep(Scheduler& scheduler) {
  std::vector<int64_t> rows;
  auto step = scheduler.Next();
  if (!step) return rows;
  scheduler.Commit(*step);
  for (const StepPart& part : step->parts) {
    rows.push_back(part.tokens);
    if (part.sequence->pending() == 0) part.sequence->tokens.push_back(1);
  }
  return rows;
}

constexpr StepLimits kLimits{.rows = 100, .logit_rows = 16, .sequences = 4, .context_tokens = 1000};

TEST(SchedulerTest, PrefillsInChunksAndMixesDecodes) {
  PagePool pool(64, 100);
  PrefixCache cache(&pool);
  Scheduler scheduler(kLimits, &cache);
  auto a = Prompt(30);
  auto b = Prompt(150);
  scheduler.Add(a.get());
  scheduler.Add(b.get());
  EXPECT_EQ(RunStep(scheduler), (std::vector<int64_t>{30, 70}));
  EXPECT_EQ(RunStep(scheduler), (std::vector<int64_t>{1, 80}));
  EXPECT_EQ(RunStep(scheduler), (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(a->computed, 32);
  EXPECT_EQ(b->computed, 151);
  EXPECT_EQ(static_cast<int64_t>(b->pages.size()), 3);
  scheduler.Remove(a.get());
  scheduler.Remove(b.get());
  EXPECT_EQ(pool.used(), 0);
  EXPECT_FALSE(scheduler.Next().has_value());
}

TEST(SchedulerTest, PlanNamesRowsPositionsAndLogits) {
  PagePool pool(64, 100);
  PrefixCache cache(&pool);
  Scheduler scheduler(kLimits, &cache);
  auto a = Prompt(3);
  auto b = Prompt(5);
  b->all_logits = true;
  scheduler.Add(a.get());
  scheduler.Add(b.get());
  const auto step = scheduler.Next();
  ASSERT_TRUE(step);
  EXPECT_EQ(step->plan.rows(), 8);
  EXPECT_EQ(step->plan.logit_rows, (std::vector<int64_t>{2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(step->parts[1].logits_begin, 1);
  EXPECT_EQ(step->parts[1].logits, 5);
  EXPECT_EQ(step->plan.sequences[1].row, 3);
}

TEST(SchedulerTest, LimitsSequencesAndChunks) {
  PagePool pool(64, 100);
  PrefixCache cache(&pool);
  Scheduler scheduler(kLimits, &cache);
  std::vector<std::unique_ptr<Sequence>> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(Prompt(10));
    all.back()->chunk_max = 4;
    scheduler.Add(all.back().get());
  }
  EXPECT_EQ(RunStep(scheduler), (std::vector<int64_t>{4, 4, 4, 4}));
  EXPECT_EQ(scheduler.waiting(), 2);
}

TEST(SchedulerTest, PreemptsTheLastWhenPagesRunOut) {
  PagePool pool(64, 3);
  PrefixCache cache(&pool);
  Scheduler scheduler(kLimits, &cache);
  auto a = Prompt(64);
  auto b = Prompt(64);
  scheduler.Add(a.get());
  scheduler.Add(b.get());
  RunStep(scheduler);  // a whole, b begins
  RunStep(scheduler);  // a takes the third page; b waits for one
  for (int i = 0; i < 70; ++i) RunStep(scheduler);
  EXPECT_GE(scheduler.preemptions(), 1);
  EXPECT_GT(a->computed, 128);
  EXPECT_TRUE(b->pages.empty());
  scheduler.Remove(a.get());
  EXPECT_FALSE(RunStep(scheduler).empty());
  while (b->pending() > 1) RunStep(scheduler);
  EXPECT_GE(b->computed, 64);
  scheduler.Remove(b.get());
  EXPECT_EQ(pool.used(), 0);
}

TEST(SchedulerTest, TwoLongPrefillsDoNotLockEachOther) {
  PagePool pool(64, 4);
  PrefixCache cache(&pool);
  Scheduler scheduler({.rows = 100, .logit_rows = 4, .sequences = 4, .context_tokens = 256},
                      &cache);
  auto a = Prompt(250);
  auto b = Prompt(250);
  a->chunk_max = 64;
  b->chunk_max = 64;
  scheduler.Add(a.get());
  scheduler.Add(b.get());
  for (int i = 0; i < 8; ++i) RunStep(scheduler);  // beyond 256 tokens the pool is too small
  EXPECT_GE(a->computed, 250);
}

std::unique_ptr<Sequence> Shared(int64_t tokens) {
  auto sequence = Prompt(tokens);
  sequence->root = RootKey("secret", {});
  return sequence;
}

TEST(SchedulerTest, ALaterSequenceTakesTheWholePagesOfAPrefix) {
  PagePool pool(64, 100);
  PrefixCache cache(&pool);
  Scheduler scheduler(kLimits, &cache);
  auto a = Shared(150);
  scheduler.Add(a.get());
  RunStep(scheduler);
  RunStep(scheduler);
  auto b = Shared(150);
  auto c = Shared(128);  // all its pages are known, but its last token must be computed
  scheduler.Add(b.get());
  scheduler.Add(c.get());
  EXPECT_EQ(RunStep(scheduler), (std::vector<int64_t>{1, 22, 64}));
  EXPECT_EQ(b->cached, 128);
  EXPECT_EQ(c->cached, 64);
  EXPECT_EQ(b->pages[1], a->pages[1]);
  EXPECT_EQ(c->pages[1], a->pages[1]);  // computed, then found to be known
  EXPECT_EQ(scheduler.prefix_queries(), 150 + 150 + 128);
  EXPECT_EQ(scheduler.prefix_hits(), 192);
  for (auto* sequence : {&a, &b, &c}) scheduler.Remove(sequence->get());
  EXPECT_EQ(pool.used(), cache.unheld());
}

TEST(SchedulerTest, WhatAnotherComputesInThisStepIsAwaited) {
  PagePool pool(64, 100);
  PrefixCache cache(&pool);
  Scheduler scheduler({.rows = 400, .logit_rows = 16, .sequences = 4, .context_tokens = 1000},
                      &cache);
  std::vector<std::unique_ptr<Sequence>> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(Shared(130));
    scheduler.Add(all.back().get());
  }
  auto other = Prompt(20);  // passes those that wait
  scheduler.Add(other.get());
  EXPECT_EQ(RunStep(scheduler), (std::vector<int64_t>{130, 20}));
  EXPECT_EQ(RunStep(scheduler), (std::vector<int64_t>{1, 1, 2, 2}));
  EXPECT_EQ(all[2]->cached, 128);
}

TEST(SchedulerTest, WhoWaitsHoldsNoPage) {
  PagePool pool(64, 4);
  PrefixCache cache(&pool);
  Scheduler scheduler(kLimits, &cache);
  auto first = Shared(70);
  scheduler.Add(first.get());
  RunStep(scheduler);
  scheduler.Remove(first.get());
  EXPECT_EQ(cache.unheld(), 1);
  auto big = Prompt(190);
  scheduler.Add(big.get());
  for (int i = 0; i < 3; ++i) RunStep(scheduler);
  EXPECT_EQ(pool.used(), 4);
  // Finds a page, but no room for a second one.
  auto late = Shared(70);
  scheduler.Add(late.get());
  RunStep(scheduler);
  EXPECT_EQ(scheduler.waiting(), 1);
  for (int i = 0; i < 60; ++i) RunStep(scheduler);  // `big` takes the last page, too
  EXPECT_GT(big->computed, 192);
  EXPECT_EQ(scheduler.preemptions(), 0);
  scheduler.Remove(big.get());
  EXPECT_EQ(RunStep(scheduler), (std::vector<int64_t>{70}));
}

TEST(SchedulerTest, APreemptedSequenceFindsWhatIsLeftOfItsPages) {
  PagePool pool(64, 5);
  PrefixCache cache(&pool);
  Scheduler scheduler(kLimits, &cache);
  auto a = Prompt(64);
  auto b = Shared(130);
  scheduler.Add(a.get());
  scheduler.Add(b.get());
  while (scheduler.preemptions() == 0) RunStep(scheduler);
  const int64_t known = cache.unheld();
  EXPECT_GT(known, 0);
  scheduler.Remove(a.get());
  scheduler.Next();
  EXPECT_GE(b->computed, 64 * known);
  EXPECT_EQ(b->cached, 0);  // it is its own work that it finds
  scheduler.Remove(b.get());
}

}  // namespace
}  // namespace inhouse::engine
