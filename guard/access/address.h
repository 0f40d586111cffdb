// IP addresses and CIDR blocks, IPv4 and IPv6 alike.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace inhouse::guard {

// 128 bits; an IPv4 address is kept as its IPv4-mapped IPv6 address (::ffff:a.b.c.d), so that a
// client has one address whichever socket it came through. A value.
class IpAddress {
 public:
  // "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"; a zone ("%eth0") is dropped. No port, no
  // brackets, no leading zeros in IPv4 (some readers take those for octal).
  static std::optional<IpAddress> Parse(std::string_view text);

  bool is_v4() const;
  std::string ToString() const;  // canonical; a mapped address as IPv4
  const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  bool operator==(const IpAddress&) const = default;

 private:
  friend class Cidr;
  std::array<uint8_t, 16> bytes_ = {};
};

// A block of addresses.
class Cidr {
 public:
  // "10.0.0.0/8", "2001:db8::/32", or one address. Bits beyond the prefix must be zero: a block
  // that was mistyped is better refused than guessed.
  static absl::StatusOr<Cidr> Parse(std::string_view text);

  bool Contains(const IpAddress& address) const;
  bool is_v4() const { return base_.is_v4() && length_ >= 96; }
  std::string ToString() const;  // "10.0.0.0/8"
  bool operator==(const Cidr&) const = default;

 private:
  IpAddress base_;
  int length_ = 0;  // of the prefix, in 128 bits
};

// A list of blocks; a scan, since lists that people write are short.
class CidrList {
 public:
  CidrList() = default;
  // The error says which text is no block, and why.
  static absl::StatusOr<CidrList> Parse(const std::vector<std::string>& texts);

  bool Contains(const IpAddress& address) const;
  bool empty() const { return blocks_.empty(); }
  const std::vector<Cidr>& blocks() const { return blocks_; }

 private:
  std::vector<Cidr> blocks_ = {};
};

}  // namespace inhouse::guard
