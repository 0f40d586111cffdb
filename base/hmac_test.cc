#include "base/hmac.h"

#include <string>

#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

std::string Hex(const Sha256Bytes& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

// RFC 4231, test cases 1, 2 and 6 (a key longer than a block).
TEST(HmacTest, KnownCodes) {
  EXPECT_EQ(Hex(HmacSha256(std::string(20, '\x0b'), "Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(Hex(HmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(Hex(HmacSha256(std::string(131, '\xaa'),
                           "Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HmacTest, SecretsDiffer) {
  const std::string secret = RandomSecret(32);
  EXPECT_EQ(secret.size(), 32U);
  EXPECT_NE(secret, RandomSecret(32));
}

}  // namespace
}  // namespace inhouse::base
