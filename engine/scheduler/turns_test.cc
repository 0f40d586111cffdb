// Who is served first: priorities, tenants, and what a step may take.
#include <memory>
#include <string>
#include <vector>

#include "engine/scheduler/scheduler.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr StepLimits kLimits{.rows = 100, .logit_rows = 16, .sequences = 4, .context_tokens = 1000};

std::unique_ptr<Sequence> Prompt(int64_t tokens, const std::string& tenant = "", int priority = 0) {
  auto sequence = std::make_unique<Sequence>();
  sequence->tokens.assign(static_cast<size_t>(tokens), 7);
  sequence->prompt_tokens = tokens;
  sequence->tenant = tenant;
  sequence->priority = priority;
  return sequence;
}

// One step; says whose rows were in it.
std::vector<const Sequence*> RunStep(Scheduler& scheduler) {
  std::vector<const Sequence*> out;
  auto step = scheduler.Next();
  if (!step) return out;
  scheduler.Commit(*step);
  for (const StepPart& part : step->parts) {
    out.push_back(part.sequence);
    if (part.sequence->pending() == 0) part.sequence->tokens.push_back(1);
  }
  return out;
}

class TurnsTest : public testing::Test {
 protected:
  PagePool pool_{64, 100};
  PrefixCache cache_{&pool_};
  Scheduler scheduler_{kLimits, &cache_};
};

TEST_F(TurnsTest, PromptsLeaveRoomWhileAnswersGoOn) {
  scheduler_.set_prefill_rows(10);
  auto a = Prompt(100);
  auto b = Prompt(50);
  scheduler_.Add(a.get());
  EXPECT_EQ(RunStep(scheduler_).size(), 1U);
  EXPECT_EQ(a->computed, 100);  // nothing else went on
  scheduler_.Add(b.get());
  for (int64_t step = 1; step <= 5; ++step) {
    RunStep(scheduler_);
    EXPECT_EQ(a->computed, 100 + step);
    EXPECT_EQ(b->computed, 10 * step);
  }
}

// A tenant with one question is not behind the hundred of another.
TEST_F(TurnsTest, TenantsTakeTurns) {
  std::vector<std::unique_ptr<Sequence>> many;
  for (int i = 0; i < 10; ++i) {
    many.push_back(Prompt(400, "busy"));
    scheduler_.Add(many.back().get());
  }
  for (int i = 0; i < 3; ++i) RunStep(scheduler_);
  auto one = Prompt(200, "calm");
  scheduler_.Add(one.get());
  EXPECT_EQ(RunStep(scheduler_), (std::vector<const Sequence*>{many[0].get()}));
  // Both were served alike from here on: turns, step by step.
  RunStep(scheduler_);
  RunStep(scheduler_);
  RunStep(scheduler_);
  EXPECT_EQ(one->computed, 198);
  EXPECT_EQ(many[1]->computed, 99);
}

// Whoever comes back after a pause has saved nothing up, and has not lost its debt.
TEST(FairShareTest, PausesAreNoCredit) {
  FairShare shares;
  FairShare::Tenant* a = shares.Enter("a");
  FairShare::Tenant* b = shares.Enter("b");
  a->served = 1000;
  b->served = 300;
  shares.Leave(a);
  EXPECT_EQ(shares.Enter("a")->served, 1000);
  EXPECT_EQ(shares.Enter("c")->served, 300);
  b->served = 5000;
  EXPECT_EQ(shares.Enter("d")->served, 300);  // as "c"
  for (const char* name : {"a", "b", "c", "d"}) shares.Leave(shares.Enter(name));
}

TEST(FairShareTest, ForgetsWhoOwesNothing) {
  FairShare shares;
  FairShare::Tenant* stays = shares.Enter("stays");
  stays->served = 100;
  for (int i = 0; i < 1000; ++i) shares.Leave(shares.Enter("t" + std::to_string(i)));
  EXPECT_EQ(shares.tenants(), 1);
  shares.Leave(stays);
  EXPECT_EQ(shares.tenants(), 0);
}

TEST_F(TurnsTest, LowerNumbersComeFirst) {
  auto late = Prompt(100, "", 5);
  auto normal = Prompt(100);
  auto urgent = Prompt(100, "", -1);
  for (auto* sequence : {&late, &normal, &urgent}) scheduler_.Add(sequence->get());
  EXPECT_EQ(RunStep(scheduler_), (std::vector<const Sequence*>{urgent.get()}));
  EXPECT_EQ(RunStep(scheduler_), (std::vector<const Sequence*>{urgent.get(), normal.get()}));
}

// All places are taken: the last of those with the highest number makes room, and loses nothing
// that the prefix tree keeps.
TEST_F(TurnsTest, APlaceIsGivenUpForALowerNumber) {
  std::vector<std::unique_ptr<Sequence>> running;
  for (int i = 0; i < 4; ++i) {
    running.push_back(Prompt(20, "", i == 1 ? 3 : 2));
    scheduler_.Add(running.back().get());
  }
  EXPECT_EQ(RunStep(scheduler_).size(), 4U);
  auto equal = Prompt(20, "", 3);
  scheduler_.Add(equal.get());
  RunStep(scheduler_);
  EXPECT_EQ(scheduler_.preemptions(), 0);
  auto urgent = Prompt(20);
  scheduler_.Add(urgent.get());
  const auto step = RunStep(scheduler_);
  EXPECT_EQ(scheduler_.preemptions(), 1);
  EXPECT_EQ(running[1]->computed, 0);
  EXPECT_EQ(urgent->computed, 20);
  EXPECT_EQ(step.size(), 4U);
  scheduler_.Remove(urgent.get());
  RunStep(scheduler_);
  EXPECT_EQ(running[1]->computed, 22);  // before `equal`, which came later
  EXPECT_EQ(equal->computed, 0);
}

TEST(TurnsPagesTest, PagesAreGivenUpForALowerNumber) {
  PagePool pool(64, 4);
  PrefixCache cache(&pool);
  Scheduler scheduler(kLimits, &cache);
  auto big = Prompt(190, "", 1);
  scheduler.Add(big.get());
  RunStep(scheduler);
  RunStep(scheduler);
  EXPECT_EQ(pool.free(), 1);
  auto urgent = Prompt(100);
  scheduler.Add(urgent.get());
  EXPECT_EQ(RunStep(scheduler), (std::vector<const Sequence*>{urgent.get()}));
  EXPECT_EQ(big->computed, 0);
  scheduler.Remove(urgent.get());
  while (big->pending() > 1) ASSERT_FALSE(RunStep(scheduler).empty());
}

}  // namespace
}  // namespace inhouse::engine
