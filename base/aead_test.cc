#include "base/aead.h"

#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

std::span<const std::byte> Of(const std::string& text) { return std::as_bytes(std::span(text)); }

// McGrew, Viega: The Galois/Counter Mode of Operation, test case 14 (a key of zeros, one block of
// zeros, a nonce of zeros).
TEST(AeadTest, KnownCode) {
  const Aead aead(Sha256Bytes{});
  const std::string plain(16, '\0');
  std::vector<std::byte> sealed(16 + kAeadTagBytes);
  aead.Seal(0, "", Of(plain), sealed.data());
  const uint8_t expected[] = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5,
                              0xd3, 0xba, 0xf3, 0x9d, 0x18, 0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99,
                              0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19};
  EXPECT_EQ(std::memcmp(sealed.data(), expected, sizeof(expected)), 0);
}

TEST(AeadTest, OpensOnlyWhatItWas) {
  Sha256Bytes key = {1, 2, 3};
  const Aead aead(key);
  const std::string plain = "keys and values of a prompt";
  std::vector<std::byte> sealed(plain.size() + kAeadTagBytes);
  aead.Seal(7, "page 7", Of(plain), sealed.data());
  std::string out(plain.size(), 'x');
  const auto open = [&](const Aead& with, uint64_t number, std::string_view bound,
                        const std::vector<std::byte>& text) {
    return with.Open(number, bound, text, reinterpret_cast<std::byte*>(out.data()));
  };
  EXPECT_TRUE(open(aead, 7, "page 7", sealed));
  EXPECT_EQ(out, plain);
  EXPECT_FALSE(open(aead, 8, "page 7", sealed));
  EXPECT_EQ(out, std::string(plain.size(), '\0'));
  EXPECT_FALSE(open(aead, 7, "page 8", sealed));
  key[31] ^= 1;
  EXPECT_FALSE(open(Aead(key), 7, "page 7", sealed));
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::vector<std::byte> damaged = sealed;
    damaged[bit / 8] ^= std::byte{static_cast<uint8_t>(1U << bit % 8)};
    EXPECT_FALSE(open(aead, 7, "page 7", damaged)) << bit;
  }
  EXPECT_FALSE(aead.Open(7, "page 7", std::span(sealed).first(5), nullptr));
}

}  // namespace
}  // namespace inhouse::base
