# Compiler settings that hold for every room.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
# Debug information for stack traces only: a full -g doubles the size of every object file. -O1 builds a
# fifth faster than -O2; rooms that compute ask for more.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
# Fuzz targets run for seconds and are built each time the suite runs on a clean machine.
set(CMAKE_CXX_FLAGS_FUZZ "-O1 -g1")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this ccache does not keep what was built with precompiled headers (its manual, "Precompiled headers").
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros "${CCACHE_PROGRAM}")
endif()

add_compile_options(-Wall -Wextra -Wconversion -Wsign-conversion -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # At -O3 it sees overlaps inside its own std::string that cannot be (GCC bug 105651).
  add_compile_options(-Wno-restrict)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Abseil's annotations are only understood by clang: this build proves the locks.
  add_compile_options(-Wthread-safety)
endif()
if(INHOUSE_SANITIZE)
  add_compile_options(-fsanitize=${INHOUSE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${INHOUSE_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented code hides from GCC what is initialised (its manual says so): it warns inside Boost.
    add_compile_options(-Wno-maybe-uninitialized)
    if(INHOUSE_SANITIZE MATCHES "thread")
      # Boost.Asio has fences, which ThreadSanitizer does not see.
      add_compile_options(-Wno-tsan)
    endif()
  endif()
endif()

if(INHOUSE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_package(Threads REQUIRED)
