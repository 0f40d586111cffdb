#include "apps/inhouse/keys_path.h"

#include <cstdlib>

namespace inhouse::apps {

std::string ConfigHome() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const std::string own = variable("INHOUSE_CONFIG_HOME"); !own.empty()) return own;
  if (const std::string xdg = variable("XDG_CONFIG_HOME"); !xdg.empty()) return xdg + "/inhouse";
  const std::string home = variable("HOME");
  return (home.empty() ? "." : home) + "/.config/inhouse";
}

std::string DefaultKeysPath() { return ConfigHome() + "/keys.toml"; }

}  // namespace inhouse::apps
