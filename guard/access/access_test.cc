#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "guard/access/address.h"
#include "guard/access/client.h"

namespace inhouse::guard {
namespace {

IpAddress Ip(std::string_view text) {
  const auto address = IpAddress::Parse(text);
  EXPECT_TRUE(address.has_value()) << text;
  return address.value_or(IpAddress());
}

CidrList List(const std::vector<std::string>& texts) {
  auto list = CidrList::Parse(texts);
  EXPECT_TRUE(list.ok()) << list.status();
  return list.ok() ? *std::move(list) : CidrList();
}

TEST(Address, FormsThatMeanTheSame) {
  EXPECT_EQ(Ip("10.1.2.3"), Ip("::ffff:10.1.2.3"));
  EXPECT_EQ(Ip("10.1.2.3"), Ip("::ffff:a01:203"));
  EXPECT_EQ(Ip("::ffff:10.1.2.3").ToString(), "10.1.2.3");
  EXPECT_EQ(Ip("2001:DB8:0::1").ToString(), "2001:db8::1");
  EXPECT_EQ(Ip("fe80::1%eth0"), Ip("fe80::1"));
}

TEST(Address, WhatIsNone) {
  for (const char* text :
       {"", " ", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "0x7f.0.0.1", "1.2.3.4:80", "[::1]",
        "::g", "1.2.3.4/8", "localhost", "::1::", "127.1", "1.2.3.4 ", "%eth0"}) {
    EXPECT_FALSE(IpAddress::Parse(text).has_value()) << text;
  }
  EXPECT_FALSE(IpAddress::Parse(std::string_view("1.2.3.4\0x", 9)).has_value());
  EXPECT_FALSE(IpAddress::Parse(std::string_view("::1\0x", 5)).has_value());
  EXPECT_FALSE(IpAddress::Parse(std::string(100'000, '1')).has_value());
}

TEST(Cidr, ContainsAtEveryEdge) {
  const auto block = *Cidr::Parse("10.32.0.0/11");
  EXPECT_TRUE(block.Contains(Ip("10.32.0.0")));
  EXPECT_TRUE(block.Contains(Ip("10.63.255.255")));
  EXPECT_FALSE(block.Contains(Ip("10.31.255.255")));
  EXPECT_FALSE(block.Contains(Ip("10.64.0.0")));
  EXPECT_TRUE(block.Contains(Ip("::ffff:10.40.1.1")));
  EXPECT_FALSE(block.Contains(Ip("2001::10.40.1.1")));
  EXPECT_TRUE(Cidr::Parse("0.0.0.0/0")->Contains(Ip("255.255.255.255")));
  EXPECT_FALSE(Cidr::Parse("0.0.0.0/0")->Contains(Ip("2001:db8::1"))) << "IPv4 is not everybody";
  EXPECT_TRUE(Cidr::Parse("::/0")->Contains(Ip("2001:db8::1")));
  EXPECT_TRUE(Cidr::Parse("::/0")->Contains(Ip("1.2.3.4"))) << "mapped addresses lie in it";
  EXPECT_TRUE(Cidr::Parse("2001:db8::/33")->Contains(Ip("2001:db8:7fff::")));
  EXPECT_FALSE(Cidr::Parse("2001:db8::/33")->Contains(Ip("2001:db8:8000::")));
  EXPECT_TRUE(Cidr::Parse("::ffff:10.0.0.0/104")->Contains(Ip("10.9.9.9")));
  EXPECT_TRUE(Cidr::Parse("192.0.2.7")->Contains(Ip("192.0.2.7")));
  EXPECT_FALSE(Cidr::Parse("192.0.2.7")->Contains(Ip("192.0.2.6")));
}

TEST(Cidr, WhatIsNone) {
  for (const char* text : {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129",
                           "10.0.0.1/8", "2001:db8::1/32", "a/8", "10.0.0.0/ 8", "10.0.0.0/+8",
                           "fe80::1%eth0/64", "10.0.0.0/0008"}) {
    EXPECT_FALSE(Cidr::Parse(text).ok()) << text;
  }
  EXPECT_NE(base::Message(Cidr::Parse("10.1.2.3/8").status()).find("10.0.0.0/8"),
            std::string::npos);
}

TEST(Cidr, PrintsWhatItReads) {
  for (const char* text :
       {"10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "2001:db8::/32", "::/0", "::1/128"}) {
    EXPECT_EQ(Cidr::Parse(text)->ToString(), text);
  }
}

// Bit by bit, the obvious way.
bool SlowContains(const IpAddress& base, int length, const IpAddress& address) {
  for (int bit = 0; bit < length; ++bit) {
    const auto byte = static_cast<size_t>(bit / 8);
    const int mask = 0x80 >> (bit % 8);
    if ((base.bytes()[byte] & mask) != (address.bytes()[byte] & mask)) return false;
  }
  return true;
}

TEST(Cidr, AgreesWithTheObviousWay) {
  std::mt19937 random(7);
  for (int round = 0; round < 20'000; ++round) {
    const bool v4 = random() % 2 == 0;
    const int length = static_cast<int>(random() % (v4 ? 33 : 129));
    const auto text = [&random, v4](uint32_t keep) {
      std::string out;
      for (int i = 0; i < (v4 ? 4 : 8); ++i) {
        const auto part = static_cast<uint32_t>((random() & keep) % (v4 ? 256 : 65536));
        char digits[8];
        std::snprintf(digits, sizeof(digits), v4 ? "%u" : "%x", part);
        if (i > 0) out += v4 ? '.' : ':';
        out += digits;
      }
      return out;
    };
    const std::string base_text = text(~0U);
    // Near misses are the interesting ones: addresses of few set bits, and the base itself.
    const IpAddress other = Ip(round % 3 == 0 ? base_text : text(3));
    auto block = Cidr::Parse(base_text + "/" + std::to_string(length));
    const IpAddress base = Ip(base_text);
    if (!block.ok()) continue;  // bits behind the prefix
    EXPECT_EQ(block->Contains(other), SlowContains(base, v4 ? 96 + length : length, other))
        << block->ToString() << " " << other.ToString();
  }
}

struct HopCase {
  const char* peer;
  std::vector<std::string_view> lines;
  const char* client;  // "" = refused
};

TEST(Client, XForwardedFor) {
  const CidrList trusted = List({"10.0.0.0/8", "fd00::/8", "127.0.0.1"});
  const std::vector<HopCase> cases = {
      {"192.0.2.1", {"1.1.1.1"}, "192.0.2.1"},  // not from a proxy of ours: not read
      {"192.0.2.1", {"nonsense"}, "192.0.2.1"},
      {"10.0.0.1", {}, "10.0.0.1"},
      {"10.0.0.1", {"1.1.1.1"}, "1.1.1.1"},
      {"::ffff:10.0.0.1", {"1.1.1.1"}, "1.1.1.1"},
      {"10.0.0.1", {"6.6.6.6, 1.1.1.1"}, "1.1.1.1"},  // the left one is the client's own claim
      {"10.0.0.1", {"6.6.6.6, 1.1.1.1, 10.0.0.2"}, "1.1.1.1"},
      {"10.0.0.1", {"6.6.6.6", "1.1.1.1", "10.0.0.2"}, "1.1.1.1"},
      {"10.0.0.1", {"6.6.6.6, 1.1.1.1", "10.0.0.2, 10.0.0.3"}, "1.1.1.1"},
      {"10.0.0.1", {"10.0.0.9, 10.0.0.2"}, "10.0.0.9"},  // all ours: the first of them
      {"10.0.0.1", {"nonsense, 1.1.1.1"}, "1.1.1.1"},
      {"10.0.0.1", {"1.1.1.1, nonsense"}, ""},
      {"10.0.0.1", {"1.1.1.1, unknown, 10.0.0.2"}, ""},
      {"10.0.0.1", {"1.1.1.1:4711"}, "1.1.1.1"},
      {"10.0.0.1", {"[2001:db8::1]:4711"}, "2001:db8::1"},
      {"10.0.0.1", {"2001:db8::1"}, "2001:db8::1"},
      {"fd00::1", {" 1.1.1.1 ,, "}, "1.1.1.1"},
      {"10.0.0.1", {"\"6.6.6.6, 1.1.1.1"}, "1.1.1.1"},
  };
  for (const HopCase& c : cases) {
    const auto client =
        ClientAddress(Ip(c.peer), trusted, ForwardedHeader::kXForwardedFor, c.lines);
    EXPECT_EQ(client.ok() ? client->ToString() : "", c.client)
        << c.peer << " " << (c.lines.empty() ? "" : c.lines[0]);
  }
  EXPECT_EQ(ClientAddress(Ip("10.0.0.1"), trusted, ForwardedHeader::kNone, {"1.1.1.1"})->ToString(),
            "10.0.0.1");
}

TEST(Client, Forwarded) {
  const CidrList trusted = List({"10.0.0.0/8"});
  const std::vector<HopCase> cases = {
      {"10.0.0.1", {"for=1.1.1.1"}, "1.1.1.1"},
      {"10.0.0.1", {"For=\"[2001:db8::1]:80\";proto=https;by=10.0.0.1"}, "2001:db8::1"},
      {"10.0.0.1", {"for=6.6.6.6, for=1.1.1.1;host=x, for=10.0.0.2"}, "1.1.1.1"},
      {"10.0.0.1", {"for=6.6.6.6", "by=10.0.0.1;for=\"1.1.1.1:99\""}, "1.1.1.1"},
      {"10.0.0.1", {"for=1.1.1.1, for=unknown"}, ""},
      {"10.0.0.1", {"for=1.1.1.1, for=_hidden"}, ""},
      {"10.0.0.1", {"for=1.1.1.1, proto=https"}, ""},
      {"10.0.0.1", {"host=\"a,b\";for=1.1.1.1"}, "1.1.1.1"},
      // An open quote must not swallow what the proxy appended.
      {"10.0.0.1", {"for=6.6.6.6;x=\", for=1.1.1.1"}, ""},
      {"10.0.0.1", {"for=6.6.6.6;x=\", for=\"[2001:db8::1]\""}, ""},
      {"10.0.0.1", {"for=6.6.6.6;x=\"\\\", for=1.1.1.1"}, ""},
      {"10.0.0.1", {"for=6.6.6.6;x=\"\\"}, ""},
  };
  for (const HopCase& c : cases) {
    const auto client = ClientAddress(Ip(c.peer), trusted, ForwardedHeader::kForwarded, c.lines);
    EXPECT_EQ(client.ok() ? client->ToString() : "", c.client) << c.lines[0];
  }
}

// Whatever a client writes, a proxy that appends its address decides what is believed.
TEST(Client, NobodyForgesAnAddress) {
  const CidrList trusted = List({"10.0.0.0/8"});
  const std::vector<std::string> pieces = {
      "6.6.6.6", "10.0.0.7", ",",   ";", "\"", "\\", "for=",        "For=\"", " ",      "[",
      "]",       ":",        "::1", "x", "=",  ", ", "for=6.6.6.6", "\t",     "unknown"};
  std::mt19937 random(11);
  int believed = 0;
  for (int round = 0; round < 50'000; ++round) {
    std::string claim;
    for (auto i = random() % 8; i > 0; --i) claim += pieces[random() % pieces.size()];
    const bool rfc = round % 2 == 0;
    const bool quoted = random() % 2 == 0;
    const std::string own = rfc ? (quoted ? "for=\"192.0.2.1:5\"" : "for=192.0.2.1") : "192.0.2.1";
    std::vector<std::string_view> lines;
    const std::string joined = claim + ", " + own;
    if (random() % 2 == 0) {
      lines = {joined};
    } else {
      lines = {claim, own};
    }
    const auto client =
        ClientAddress(Ip("10.0.0.1"), trusted,
                      rfc ? ForwardedHeader::kForwarded : ForwardedHeader::kXForwardedFor, lines);
    if (client.ok()) {
      ++believed;
      EXPECT_EQ(client->ToString(), "192.0.2.1") << joined;
    }
  }
  EXPECT_GT(believed, 25'000);
}

}  // namespace
}  // namespace inhouse::guard
