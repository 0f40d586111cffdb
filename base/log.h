// The log of the process: lines on stderr through spdlog.
#pragma once

#include <string_view>

#include "spdlog/spdlog.h"  // IWYU pragma: export

namespace inhouse::base {

// Sets up the process-wide logger. `level` is trace, debug, info, warn, error or off; anything else
// is taken as info. Colour only if stderr is a terminal and NO_COLOR is unset. Called once, by
// apps/.
void InitLog(std::string_view level);

}  // namespace inhouse::base
