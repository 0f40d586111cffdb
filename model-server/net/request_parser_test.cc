#include "model-server/net/request_parser.h"

#include <gtest/gtest.h>

namespace inhouse::model_server {
namespace {

using State = RequestParser::State;

// Feeds `text` in pieces of `step` bytes, as a connection does; returns what was left over.
std::string FeedAll(RequestParser& parser, const std::string& text, size_t step) {
  std::string buffer;
  for (size_t i = 0; i < text.size(); i += step) {
    buffer += text.substr(i, step);
    buffer.erase(0, parser.Feed(buffer));
  }
  return buffer;
}

const char kPost[] =
    "POST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello";

TEST(RequestParser, EveryWayToCutARequest) {
  for (size_t step = 1; step <= sizeof(kPost); ++step) {
    RequestParser parser({});
    const std::string left = FeedAll(parser, std::string(kPost) + "GET", step);
    ASSERT_EQ(parser.state(), State::kDone) << step << parser.error();
    EXPECT_EQ(left, "GET");
    EXPECT_TRUE(parser.keep_alive());
    const Request request = parser.Take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.target, "/v1/x?y=1");
    EXPECT_EQ(request.headers.Find("x-a"), "b");
    EXPECT_EQ(request.body, "hello");
  }
}

TEST(RequestParser, ChunkedBody) {
  for (const size_t step : {1u, 2u, 7u, 1000u}) {
    RequestParser parser({});
    FeedAll(parser,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            step);
    ASSERT_EQ(parser.state(), State::kDone) << step << parser.error();
    EXPECT_EQ(parser.Take().body, "abcde");
  }
}

// The last chunk comes first, and byte by byte.
TEST(RequestParser, EmptyChunkedBody) {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const size_t step : {1u, 2u, 3u, 4u, 1000u}) {
    for (const char* end : {"0\r\n\r\n", "0\r\nX-Sum: 1\r\n\r\n"}) {
      RequestParser parser({});
      EXPECT_EQ(FeedAll(parser, head + end, step), "");
      ASSERT_EQ(parser.state(), State::kDone) << step << parser.error();
      EXPECT_EQ(parser.Take().body, "");
    }
  }
}

TEST(RequestParser, KeepAliveByVersion) {
  RequestParser parser({});
  FeedAll(parser, "GET / HTTP/1.0\r\n\r\n", 100);
  ASSERT_EQ(parser.state(), State::kDone);
  EXPECT_FALSE(parser.keep_alive());
}

int StatusOf(const std::string& text, const ParserLimits& limits = {}) {
  RequestParser parser(limits);
  FeedAll(parser, text, 1000);
  return parser.state() == State::kError ? parser.error_status() : 0;
}

TEST(RequestParser, Refusals) {
  EXPECT_EQ(StatusOf("nonsense\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\n\r\n"), 400);  // no Host
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
            400);
  // Request smuggling: two ways to end one body.
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"), 501);
  EXPECT_EQ(StatusOf("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
}

TEST(RequestParser, Limits) {
  const ParserLimits limits{.header_bytes_max = 1000, .body_bytes_max = 10};
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(StatusOf(head + "X: " + std::string(2000, 'x') + "\r\n\r\n", limits), 431);
  EXPECT_EQ(StatusOf(head + "X: " + std::string(900000, 'x'), limits), 431);
  EXPECT_EQ(StatusOf(head + "Content-Length: 11\r\n\r\n", limits), 413);
  EXPECT_EQ(StatusOf(head + "Content-Length: 10\r\n\r\n0123456789", limits), 0);
  EXPECT_EQ(StatusOf(head + "Transfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n", limits), 413);
  EXPECT_EQ(
      StatusOf(head + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(5000, 'x'), limits),
      400);
}

TEST(RequestParser, ExpectContinue) {
  RequestParser parser({});
  FeedAll(parser, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
          100);
  ASSERT_EQ(parser.state(), State::kBody);
  EXPECT_TRUE(parser.expects_continue());
  EXPECT_EQ(parser.body_bytes_announced(), 5u);
}

}  // namespace
}  // namespace inhouse::model_server
