# The headers that most units read first, parsed once: half of what a unit takes to compile is parsing. The
# lists hold what is included most, not what may be used: every unit includes what it needs, and the other
# presets, which have no precompiled headers, prove it.
find_package(absl REQUIRED)
find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)

set(common_headers
  <algorithm> <chrono> <cstdint> <filesystem> <functional> <map> <memory> <optional> <span> <string>
  <string_view> <utility> <vector> <absl/status/statusor.h> <fmt/format.h>)

# A target needs a unit.
set(empty_program "${CMAKE_BINARY_DIR}/empty_program.cc")
file(CONFIGURE OUTPUT "${empty_program}" CONTENT "int main() { return 0; }\n")

# inhouse_precompiled(NAME LIBRARY|EXECUTABLE HEADERS... DEPS...): a program's units are compiled with -fPIE
# and a library's with -fPIC, so they cannot share.
function(inhouse_precompiled name kind)
  cmake_parse_arguments(P "" "" "HEADERS;DEPS" ${ARGN})
  if(kind STREQUAL "EXECUTABLE")
    add_executable(inhouse_${name} EXCLUDE_FROM_ALL "${empty_program}")
  else()
    add_library(inhouse_${name} STATIC EXCLUDE_FROM_ALL "${empty_program}")
  endif()
  target_link_libraries(inhouse_${name} PUBLIC absl::statusor fmt::fmt spdlog::spdlog ${P_DEPS})
  target_compile_options(inhouse_${name} PRIVATE -pthread)
  target_precompile_headers(inhouse_${name} PRIVATE ${common_headers} ${P_HEADERS})
endfunction()

inhouse_precompiled(precompiled LIBRARY)
inhouse_precompiled(precompiled_json LIBRARY
                    HEADERS <nlohmann/json.hpp> DEPS nlohmann_json::nlohmann_json)
if(INHOUSE_TESTS)
  inhouse_precompiled(precompiled_test EXECUTABLE HEADERS <gtest/gtest.h> DEPS GTest::gtest)
endif()
inhouse_precompiled(precompiled_verb EXECUTABLE
                    HEADERS <CLI/CLI.hpp> <nlohmann/json.hpp> DEPS CLI11::CLI11 nlohmann_json::nlohmann_json)
