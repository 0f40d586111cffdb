#include "engine/runtime/step_pace.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

TEST(StepPaceTest, FindsTheRowsThatFitIntoAStep) {
  StepPace pace(100, 512);
  EXPECT_EQ(pace.prompt_rows(), 64);  // nothing is known yet
  pace.Observe(0, 512, 512);          // 1 ms a row
  pace.Observe(4, 0, 20);
  EXPECT_EQ(pace.prompt_rows(), 80);
  // A machine on which a row costs 2 ms and answers 30: after some steps they take what they may.
  double ms = 0;
  for (int i = 0; i < 20; ++i) {
    const int64_t rows = pace.prompt_rows();
    ms = 30 + 2 * static_cast<double>(rows);
    pace.Observe(4, rows, ms);
    pace.Observe(4, 0, 30);
  }
  EXPECT_NEAR(ms, 100, 3);
}

TEST(StepPaceTest, PromptsGoOnHoweverSlowTheMachineIs) {
  StepPace pace(10, 512);
  pace.Observe(1, 0, 400);
  pace.Observe(1, 32, 2000);
  EXPECT_EQ(pace.prompt_rows(), StepPace::kRowsMin);
  EXPECT_EQ(StepPace(10, 8).prompt_rows(), 8);
}

TEST(StepPaceTest, OneSlowStepIsForgotten) {
  StepPace pace(100, 512);
  pace.Observe(0, 400, 200);
  pace.Observe(1, 0, 10);
  const int64_t before = pace.prompt_rows();
  pace.Observe(1, 100, 5000);
  EXPECT_EQ(pace.prompt_rows(), StepPace::kRowsMin);
  for (int i = 0; i < 12; ++i) {
    const int64_t rows = pace.prompt_rows();
    pace.Observe(1, rows, 10 + 0.5 * static_cast<double>(rows));
  }
  EXPECT_NEAR(static_cast<double>(pace.prompt_rows()), static_cast<double>(before), 10);
}

// Answers that were slow have ended, and since then no step came without prompts.
TEST(StepPaceTest, SlowAnswersOfThePastAreForgottenUnderLoad) {
  StepPace pace(100, 512);
  pace.Observe(8, 0, 300);
  for (int i = 0; i < 20; ++i) {
    const int64_t rows = pace.prompt_rows();
    pace.Observe(1, rows, 10 + 0.5 * static_cast<double>(rows));
  }
  EXPECT_GT(pace.prompt_rows(), StepPace::kRowsMin);
}

}  // namespace
}  // namespace inhouse::engine
