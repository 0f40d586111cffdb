#include "base/thread_team.h"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <vector>

#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

TEST(ThreadTeamTest, EveryMemberRunsOnce) {
  for (const int count : {1, 2, 3, 8}) {
    ThreadTeam team(count);
    std::vector<int> runs(static_cast<size_t>(count), 0);
    for (int round = 0; round < 200; ++round) {
      team.Run([&runs](const TeamMember& self) { ++runs[static_cast<size_t>(self.index())]; });
    }
    for (const int n : runs) EXPECT_EQ(n, 200);
  }
}

TEST(ThreadTeamTest, BarrierPublishesWrites) {
  ThreadTeam team(4);
  std::vector<int> slots(4, 0);
  std::atomic<int> wrong{0};
  team.Run([&](const TeamMember& self) {
    for (int round = 1; round <= 500; ++round) {
      slots[static_cast<size_t>(self.index())] = round;
      self.Barrier();
      for (const int slot : slots) wrong += slot != round;
      self.Barrier();
    }
  });
  EXPECT_EQ(wrong.load(), 0);
}

TEST(ThreadTeamTest, SleepsBetweenRunsAndWakesUp) {
  ThreadTeam team(2);
  std::atomic<int> runs{0};
  for (int round = 0; round < 3; ++round) {
    team.Run([&runs](const TeamMember&) { ++runs; });
    // Work for much longer than the members spin, so that the next Run finds them asleep.
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
    while (std::chrono::steady_clock::now() < end) runs.load();
  }
  EXPECT_EQ(runs.load(), 6);
}

// Two members that cannot run at the same time lose their CPU to each other all the time.
TEST(ThreadTeamTest, BarriersOnOneCpu) {
  const std::vector<int> cpus = AllowedCpus();
  ThreadTeam team(2);
  std::vector<int> slots(2, 0);
  std::atomic<int> wrong{0};
  team.Run([&](const TeamMember& self) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(cpus.front()), &one);
    sched_setaffinity(0, sizeof(one), &one);
    for (int round = 1; round <= 300; ++round) {
      slots[static_cast<size_t>(self.index())] = round;
      self.Barrier();
      for (const int slot : slots) wrong += slot != round;
      self.Barrier();
    }
    cpu_set_t all;
    CPU_ZERO(&all);
    for (const int cpu : cpus) CPU_SET(static_cast<size_t>(cpu), &all);
    sched_setaffinity(0, sizeof(all), &all);
  });
  EXPECT_EQ(wrong.load(), 0);
}

TEST(ThreadTeamTest, SharesCoverTheRangeInOrder) {
  ThreadTeam team(3);
  for (const int64_t n : {0, 1, 31, 32, 33, 100, 1000}) {
    std::vector<std::pair<int64_t, int64_t>> parts(3);
    team.Run([&](const TeamMember& self) {
      parts[static_cast<size_t>(self.index())] = self.Share(n, 32);
    });
    EXPECT_EQ(parts[0].first, 0);
    EXPECT_EQ(parts[0].second, parts[1].first);
    EXPECT_EQ(parts[1].second, parts[2].first);
    EXPECT_EQ(parts[2].second, n);
    if (n >= 64) {
      EXPECT_EQ(parts[0].second % 32, 0);
    }
  }
  EXPECT_GE(DefaultThreadCount(), 1);
}

}  // namespace
}  // namespace inhouse::base
