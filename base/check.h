// INHOUSE_CHECK: for our own mistakes. Ends the process with the condition, the place and a
// message. What the outside can cause is an absl::Status instead. Stands alone (no Abseil), so that
// the kernels build for any target.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace inhouse::base {

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition,
                                     const char* message) {
  std::fprintf(stderr, "%s:%d: check failed: %s: %s\n", file, line, condition, message);
  std::abort();
}

}  // namespace inhouse::base

#define INHOUSE_CHECK(condition, message)                                    \
  do {                                                                       \
    if (!(condition)) [[unlikely]] {                                         \
      ::inhouse::base::CheckFailed(__FILE__, __LINE__, #condition, message); \
    }                                                                        \
  } while (false)
