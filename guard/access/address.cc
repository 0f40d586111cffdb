#include "guard/access/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::guard {
namespace {

constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr size_t kTextMax = 64;  // the longest address with a zone is shorter

absl::Status NoBlock(std::string_view text, std::string expected) {
  return base::InvalidInput({.value = std::string(text), .expected = std::move(expected)});
}

}  // namespace

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  if (text.size() > kTextMax) return std::nullopt;
  IpAddress address;
  const std::string whole(text);
  if (inet_pton(AF_INET, whole.c_str(), address.bytes_.data() + kMapped.size()) == 1) {
    if (whole.size() != text.size() || whole.find('\0') != std::string::npos) return std::nullopt;
    std::copy(kMapped.begin(), kMapped.end(), address.bytes_.begin());
    return address;
  }
  const std::string plain = whole.substr(0, whole.find('%'));
  if (plain.find('\0') != std::string::npos) return std::nullopt;
  if (inet_pton(AF_INET6, plain.c_str(), address.bytes_.data()) == 1) return address;
  return std::nullopt;
}

bool IpAddress::is_v4() const { return std::equal(kMapped.begin(), kMapped.end(), bytes_.begin()); }

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN] = "";
  const bool v4 = is_v4();
  inet_ntop(v4 ? AF_INET : AF_INET6, bytes_.data() + (v4 ? kMapped.size() : 0), text, sizeof(text));
  return text;
}

absl::StatusOr<Cidr> Cidr::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = IpAddress::Parse(text.substr(0, slash));
  if (!address || text.find('%') != std::string_view::npos) {
    return NoBlock(text, "an address or a block, as 10.0.0.0/8 or 2001:db8::/32");
  }
  // An address that was written with colons counts its prefix in 128 bits, also if it is mapped.
  const bool v4 = text.find(':') == std::string_view::npos;
  const int most = v4 ? 32 : 128;
  int length = most;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const bool plain = !digits.empty() && digits.size() <= 3 &&
                       digits.find_first_not_of("0123456789") == std::string_view::npos;
    length = 0;
    for (const char c : plain ? digits : "") length = length * 10 + (c - '0');
    if (!plain || length > most) {
      return NoBlock(text, fmt::format("a prefix length from 0 to {} behind the slash", most));
    }
  }
  Cidr block;
  block.base_ = *address;
  block.length_ = v4 ? 96 + length : length;
  for (int bit = block.length_; bit < 128; ++bit) {
    uint8_t& byte = block.base_.bytes_[static_cast<size_t>(bit / 8)];
    byte = static_cast<uint8_t>(byte & ~(0x80 >> (bit % 8)));
  }
  if (block.base_ != *address) {
    return NoBlock(text, fmt::format("a block whose bits behind the prefix are zero, as {}",
                                     block.ToString()));
  }
  return block;
}

bool Cidr::Contains(const IpAddress& address) const {
  const auto whole = static_cast<size_t>(length_ / 8);
  if (std::memcmp(address.bytes_.data(), base_.bytes_.data(), whole) != 0) return false;
  const int rest = length_ % 8;
  if (rest == 0) return true;
  return ((address.bytes_[whole] ^ base_.bytes_[whole]) >> (8 - rest)) == 0;
}

std::string Cidr::ToString() const {
  return fmt::format("{}/{}", base_.ToString(), is_v4() ? length_ - 96 : length_);
}

absl::StatusOr<CidrList> CidrList::Parse(const std::vector<std::string>& texts) {
  CidrList list;
  for (const std::string& text : texts) {
    INHOUSE_ASSIGN_OR_RETURN(const Cidr block, Cidr::Parse(text));
    list.blocks_.push_back(block);
  }
  return list;
}

bool CidrList::Contains(const IpAddress& address) const {
  return std::any_of(blocks_.begin(), blocks_.end(),
                     [&address](const Cidr& block) { return block.Contains(address); });
}

}  // namespace inhouse::guard
