#include "model-server/http/form.h"

#include <gtest/gtest.h>

namespace inhouse::model_server {
namespace {

constexpr char kType[] = "multipart/form-data; boundary=\"x y\"";

TEST(FormTest, PartsWithNamesAndContents) {
  const auto form = ParseForm(kType,
                              "--x y\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n"
                              "batch\r\n--x y\r\ncontent-type: text/plain\r\n"
                              "content-disposition: form-data; name=file; filename=\"a;\\\"b\"\r\n"
                              "\r\nline 1\r\n--x\r\nline 3\r\n--x y--\r\n");
  ASSERT_TRUE(form.has_value());
  ASSERT_EQ(form->size(), 2U);
  EXPECT_EQ((*form)[0].name, "purpose");
  EXPECT_EQ((*form)[0].content, "batch");
  EXPECT_EQ((*form)[1].name, "file");
  EXPECT_EQ((*form)[1].filename, "a;\"b");
  EXPECT_EQ((*form)[1].content, "line 1\r\n--x\r\nline 3");
}

TEST(FormTest, WhatIsNoFormIsNone) {
  const std::string head = "--x y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
  EXPECT_TRUE(ParseForm(kType, head + "\r\n--x y--").has_value());
  for (const std::string& body :
       {std::string(), std::string("--"), std::string("--x y"), std::string("--x y\r\n"), head,
        head + "b", head + "b\r\n--x y", head + "b\r\n--x y\r",
        std::string("--x y\r\n\r\nb\r\n--x y--"), std::string("--x y\r\n\r\n--x y--"),
        std::string("--x y\r\n\r\n\r\n--x y--")}) {
    EXPECT_FALSE(ParseForm(kType, body).has_value()) << body;
  }
  EXPECT_FALSE(ParseForm("multipart/form-data", head + "\r\n--x y--").has_value());
  EXPECT_FALSE(ParseForm("application/json", head + "\r\n--x y--").has_value());
  EXPECT_FALSE(ParseForm("multipart/form-data; boundary=", "--\r\n").has_value());
  std::string many;
  for (size_t i = 0; i <= kFormPartsMax; ++i) many += head + "b\r\n";
  EXPECT_FALSE(ParseForm(kType, many + "--x y--").has_value());
}

TEST(FormTest, QueryParameters) {
  EXPECT_EQ(QueryParameter("/v1/files?limit=3&after=a%2Fb", "after"), "a/b");
  EXPECT_EQ(QueryParameter("/v1/files?limit=3&after=a", "limit"), "3");
  EXPECT_EQ(QueryParameter("/v1/files?xlimit=3", "limit"), "");
  EXPECT_EQ(QueryParameter("/v1/files?limit", "limit"), "");
  EXPECT_EQ(QueryParameter("/v1/files", "limit"), "");
}

}  // namespace
}  // namespace inhouse::model_server
