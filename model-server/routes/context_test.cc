#include "model-server/routes/context.h"

#include "gtest/gtest.h"

namespace inhouse::model_server {
namespace {

TEST(QueueSecondsTest, IsTheTimeUntilAllHaveHadTheirTurn) {
  EXPECT_EQ(QueueSeconds(10, 4, 7), 20);     // two rounds of four
  EXPECT_EQ(QueueSeconds(10, 16, 0), 1);     // the next place comes within a second
  EXPECT_EQ(QueueSeconds(0, 0, 5), 1);       // nothing has ended yet
  EXPECT_EQ(QueueSeconds(30, 1, 99), 3000);  // long is said, too
  EXPECT_EQ(QueueSeconds(30, 1, 500), 3600);
}

// The mean counts answers, not the time that they waited; the first one counts whole.
TEST(QueueSecondsTest, FollowsTheAnswers) {
  Context context;
  context.OnAnswer(20);
  EXPECT_EQ(context.answer_seconds, 20);
  for (int i = 0; i < 50; ++i) context.OnAnswer(5);
  EXPECT_NEAR(context.answer_seconds, 5, 0.1);
}

}  // namespace
}  // namespace inhouse::model_server
