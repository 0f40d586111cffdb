// Who the client is when a proxy stands in between.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "guard/access/address.h"

namespace inhouse::guard {

// The one header in which the trusted proxies write the client's address. Two would let a client
// choose.
enum class ForwardedHeader { kNone, kXForwardedFor, kForwarded };

// The address that the access lists judge: the peer of the socket, unless that is a trusted proxy;
// then the rightmost hop of `lines` (the header's fields, in the order of the request) that is no
// trusted proxy. Hops further left were written by whoever asked, and are not looked at. If every
// hop is a trusted proxy, the leftmost. A hop that is no address on the way there is an error: what
// cannot be read cannot be allowed.
absl::StatusOr<IpAddress> ClientAddress(const IpAddress& peer, const CidrList& trusted,
                                        ForwardedHeader header,
                                        const std::vector<std::string_view>& lines);

}  // namespace inhouse::guard
