// The address lists as rules for the kernel's packet filter, so that whoever is not allowed does
// not even get a connection.
#pragma once

#include <cstdint>
#include <string>

#include "guard/guard.h"

namespace inhouse::guard {

// For `nft -f`: a table of its own, "inhouse_<port>", replaced as a whole in one transaction; no
// other table is touched. Packets that it lets pass still go through all others.
std::string NftablesRules(const PolicyOptions& rules, uint16_t port);

// The same as a shell script around iptables-restore and ip6tables-restore, for hosts without nft:
// a chain of its own and one jump to it.
std::string IptablesScript(const PolicyOptions& rules, uint16_t port);

}  // namespace inhouse::guard
