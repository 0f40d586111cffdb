#include "base/build_id.h"

#include <array>
#include <cstdio>
#include <string>

#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

TEST(BuildIdTest, IsTheOneThatReadelfPrints) {
  EXPECT_GE(BuildId().size(), 16U);
  EXPECT_EQ(BuildId().find_first_not_of("0123456789abcdef"), std::string::npos);
  FILE* pipe = popen("readelf -n /proc/$PPID/exe 2>/dev/null", "r");
  ASSERT_NE(pipe, nullptr);
  std::string text;
  std::array<char, 4096> buffer = {};
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe))
    text.append(buffer.data(), n);
  pclose(pipe);
  EXPECT_NE(text.find("Build ID: " + BuildId()), std::string::npos) << text;
}

}  // namespace
}  // namespace inhouse::base
