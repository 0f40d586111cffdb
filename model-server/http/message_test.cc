#include "model-server/http/message.h"

#include <gtest/gtest.h>

namespace inhouse::model_server {
namespace {

TEST(Headers, FindsInAnyCase) {
  Headers headers;
  headers.Add("Content-Type", "a");
  headers.Add("content-type", "b");
  EXPECT_EQ(headers.Find("CONTENT-TYPE"), "a");
  EXPECT_EQ(headers.Find("Content"), "");
}

TEST(Target, PathAndDecoding) {
  EXPECT_EQ(TargetPath("/v1/models/a%2Fb?x=/1"), "/v1/models/a%2Fb");
  EXPECT_EQ(TargetPath("/x#y"), "/x");
  EXPECT_EQ(PercentDecode("a%2Fb%2f%e6%a8%a1"), "a/b/模");
  EXPECT_EQ(PercentDecode("100%"), "100%");
  EXPECT_EQ(PercentDecode("%4"), "%4");
  EXPECT_EQ(PercentDecode("%zz%41"), "%zzA");
}

TEST(RequestId, OnlyVisibleAscii) {
  EXPECT_TRUE(IsHarmlessId("req-1_x"));
  EXPECT_FALSE(IsHarmlessId(""));
  EXPECT_FALSE(IsHarmlessId("a b"));
  EXPECT_FALSE(IsHarmlessId("a\r\nSet-Cookie:x"));
  EXPECT_FALSE(IsHarmlessId(std::string(129, 'a')));
}

}  // namespace
}  // namespace inhouse::model_server
