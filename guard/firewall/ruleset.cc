#include "guard/firewall/ruleset.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fmt/format.h"

namespace inhouse::guard {
namespace {

// The blocks of a list that concern packets of one family.
std::vector<std::string> OfFamily(const CidrList& list, bool v4) {
  const IpAddress any_v4 = *IpAddress::Parse("0.0.0.0");
  std::vector<std::string> out;
  for (const Cidr& block : list.blocks()) {
    if (block.is_v4() == v4) {
      out.push_back(block.ToString());
    } else if (v4 && block.Contains(any_v4)) {
      out.emplace_back("0.0.0.0/0");  // ::/0 and its like hold the mapped addresses, too
    }
  }
  return out;
}

struct Family {
  bool v4 = true;
  std::vector<std::string> proxies = {};
  std::vector<std::string> deny = {};
  std::optional<std::vector<std::string>> allow = {};
};

Family FamilyOf(const PolicyOptions& rules, bool v4) {
  Family family{
      .v4 = v4, .proxies = OfFamily(rules.trusted_proxies, v4), .deny = OfFamily(rules.deny, v4)};
  if (rules.allow) family.allow = OfFamily(*rules.allow, v4);
  return family;
}

// A set and the rule that uses it; nothing for an empty list, which nft does not take.
void AppendSet(const Family& family, std::string_view name, const std::vector<std::string>& blocks,
               std::string_view verdict, std::string* sets, std::string* chain) {
  if (blocks.empty()) return;
  const std::string_view suffix = family.v4 ? "4" : "6";
  std::string elements;
  for (const std::string& block : blocks) elements += (elements.empty() ? "" : ", ") + block;
  *sets += fmt::format(
      "  set {}{} {{\n    type {}_addr\n    flags interval\n    auto-merge\n    elements = {{ {} "
      "}}\n  }}\n",
      name, suffix, family.v4 ? "ipv4" : "ipv6", elements);
  *chain += fmt::format("    {} saddr @{}{} {}\n", family.v4 ? "ip" : "ip6", name, suffix, verdict);
}

std::string RestoreText(const Family& family, uint16_t port) {
  const std::string chain = fmt::format("INHOUSE_{}", port);
  std::string out = fmt::format("*filter\n:{} - [0:0]\n", chain);
  const auto append = [&](const std::vector<std::string>& blocks, std::string_view target) {
    for (const std::string& block : blocks) {
      out += fmt::format("-A {} -s {} -j {}\n", chain, block, target);
    }
  };
  append(family.proxies, "RETURN");
  append(family.deny, "DROP");
  if (family.allow) {
    append(*family.allow, "RETURN");
    out += fmt::format("-A {} -j DROP\n", chain);
  }
  return out + "COMMIT\n";
}

}  // namespace

std::string NftablesRules(const PolicyOptions& rules, uint16_t port) {
  const std::string table = fmt::format("inet inhouse_{}", port);
  std::string sets;
  std::string chain;
  // In the order in which the server judges: a trusted proxy speaks for others, whom the server
  // judges by the header; then deny before allow.
  for (const bool v4 : {true, false}) {
    const Family family = FamilyOf(rules, v4);
    AppendSet(family, "proxies", family.proxies, "accept", &sets, &chain);
  }
  for (const bool v4 : {true, false}) {
    const Family family = FamilyOf(rules, v4);
    AppendSet(family, "deny", family.deny, "counter drop", &sets, &chain);
  }
  for (const bool v4 : {true, false}) {
    const Family family = FamilyOf(rules, v4);
    if (family.allow) AppendSet(family, "allow", *family.allow, "accept", &sets, &chain);
  }
  if (rules.allow) chain += "    counter drop\n";
  return fmt::format(
      "#!/usr/sbin/nft -f\n"
      "# Made by `inhouse firewall --nftables` for port {1}; load it with `nft -f FILE`.\n"
      "# It replaces its own table only. Blocks of single keys are judged by the server.\n"
      "table {0}\n"
      "delete table {0}\n"
      "table {0} {{\n"
      "{2}"
      "  chain input {{\n"
      "    type filter hook input priority -5; policy accept;\n"
      "    tcp dport {1} jump door\n"
      "  }}\n"
      "  chain door {{\n"
      "{3}"
      "  }}\n"
      "}}\n",
      table, port, sets, chain);
}

std::string IptablesScript(const PolicyOptions& rules, uint16_t port) {
  std::string out = fmt::format(
      "#!/bin/sh\n"
      "# Made by `inhouse firewall --iptables` for port {0}; run it as root, again after a "
      "change.\n"
      "# It replaces its own chain only. Blocks of single keys are judged by the server.\n"
      "set -e\n",
      port);
  for (const bool v4 : {true, false}) {
    const std::string_view tool = v4 ? "iptables" : "ip6tables";
    out += fmt::format(
        "{0}-restore --noflush <<'RULES'\n{1}RULES\n"
        "{0} -w -C INPUT -p tcp --dport {2} -j INHOUSE_{2} 2>/dev/null ||\n"
        "  {0} -w -I INPUT -p tcp --dport {2} -j INHOUSE_{2}\n",
        tool, RestoreText(FamilyOf(rules, v4), port), port);
  }
  return out;
}

}  // namespace inhouse::guard
