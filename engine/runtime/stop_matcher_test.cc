#include "engine/runtime/stop_matcher.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

std::string Feed(StopMatcher& matcher, const std::string& text, size_t step) {
  std::string out;
  for (size_t i = 0; i < text.size(); i += step) out += matcher.Push(text.substr(i, step));
  return out + matcher.Finish();
}

TEST(StopMatcherTest, CutsAtTheFirstMatchForEverySplit) {
  for (size_t step = 1; step < 12; ++step) {
    StopMatcher matcher({"END", "\n\n"}, false);
    EXPECT_EQ(Feed(matcher, "one\ntwo EN three\n\nfour END", step), "one\ntwo EN three");
    EXPECT_EQ(matcher.found(), "\n\n");
  }
}

TEST(StopMatcherTest, KeepsTheStopWhenAsked) {
  StopMatcher matcher({"stop"}, true);
  EXPECT_EQ(Feed(matcher, "a stop b", 3), "a stop");
}

TEST(StopMatcherTest, NeverEmitsAPartThatMayBecomeAStop) {
  StopMatcher matcher({"abcabd"}, false);
  EXPECT_EQ(matcher.Push("xabca"), "x");
  EXPECT_EQ(matcher.Push("bc"), "abc");  // "abc" again may begin the stop
  EXPECT_EQ(matcher.Push("abd!"), "");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcherTest, WithoutStopsPassesEverythingAtOnce) {
  StopMatcher matcher({""}, false);
  EXPECT_EQ(matcher.Push("abc"), "abc");
  EXPECT_EQ(matcher.Finish(), "");
}

}  // namespace
}  // namespace inhouse::engine
