// What the operating system says about this process.
#pragma once

#include <cstdint>

namespace inhouse::monitoring {

struct ProcessFacts {
  int64_t resident_bytes = 0;
  int64_t virtual_bytes = 0;
  int64_t open_files = 0;
  double cpu_seconds = 0;
};

ProcessFacts ReadProcessFacts();  // zeros where /proc is not there

}  // namespace inhouse::monitoring
