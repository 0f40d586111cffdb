// Where the files of an installation stand.
#pragma once

#include <string>

namespace inhouse::apps {

// $INHOUSE_CONFIG_HOME, or inhouse/ below $XDG_CONFIG_HOME or ~/.config.
std::string ConfigHome();
std::string DefaultKeysPath();  // keys.toml there

}  // namespace inhouse::apps
