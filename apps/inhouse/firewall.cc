// inhouse firewall: the address lists as rules of the kernel's packet filter.
#include <cstdio>
#include <memory>
#include <string>

#include "apps/inhouse/serve_settings.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "guard/firewall/ruleset.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

struct Flags {
  bool json = false;
  bool nftables = false;
  bool iptables = false;
  std::string config = {};
  ServeSettings settings = {};
};

absl::StatusOr<std::string> Rules(const ServeSettings& settings, bool iptables) {
  INHOUSE_ASSIGN_OR_RETURN(const guard::PolicyOptions rules, ReadLists(settings.guard));
  if (settings.server.port == 0) {
    return base::InvalidInput({.field = "port",
                               .value = "0",
                               .expected = "the port of the server, since rules are for a port"});
  }
  return iptables ? guard::IptablesScript(rules, settings.server.port)
                  : guard::NftablesRules(rules, settings.server.port);
}

}  // namespace

VerbRun SetUpFirewall(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_flag("--json", flags->json, "print a JSON object");
  CLI::Option* nftables = app.add_flag("--nftables", flags->nftables, "for `nft -f` (default)");
  app.add_flag("--iptables", flags->iptables, "a script around iptables-restore")
      ->excludes(nftables);
  app.add_option("--config", flags->config, "inhouse.toml: flags that are given go before it")
      ->envname("INHOUSE_CONFIG");
  app.add_option("-p,--port", flags->settings.server.port, "of the server")->capture_default_str();
  AddListFlags(app, &flags->settings.guard);
  return [flags, &app] {
    if (!flags->config.empty()) {
      if (auto status = LoadSettings(flags->config, &flags->settings); !status.ok()) {
        return ReportError(status, flags->json);
      }
      for (CLI::Option* option : app.get_options()) {
        if (option->count() > 0) option->run_callback();
      }
    }
    const auto rules = Rules(flags->settings, flags->iptables);
    if (!rules.ok()) return ReportError(rules.status(), flags->json);
    if (flags->json) {
      const nlohmann::ordered_json json = {{"kind", flags->iptables ? "iptables" : "nftables"},
                                           {"port", flags->settings.server.port},
                                           {"rules", *rules}};
      std::printf("%s\n", json.dump().c_str());
    } else {
      std::fputs(rules->c_str(), stdout);
    }
    return int{kDone};
  };
}

}  // namespace inhouse::apps
