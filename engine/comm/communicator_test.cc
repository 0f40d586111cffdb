#include "engine/comm/communicator.h"

#include <vector>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

TEST(SingleProcessTest, SumOfOneRankIsItself) {
  SingleProcess comm;
  std::vector<float> values = {1.5F, -2.0F};
  comm.AllReduceSum(values);
  EXPECT_EQ(values, (std::vector<float>{1.5F, -2.0F}));
  EXPECT_EQ(comm.rank(), 0);
  EXPECT_EQ(comm.size(), 1);
}

}  // namespace
}  // namespace inhouse::engine
