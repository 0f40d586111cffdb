# Takes the headers of InhousePrecompiled.cmake, if the build has them. They hold for the flags and
# definitions with which they were compiled, so the target gets those too; a directory whose own flags
# differ says INHOUSE_NO_PRECOMPILE.
function(inhouse_precompile target name)
  get_directory_property(no_precompile INHOUSE_NO_PRECOMPILE)
  if(INHOUSE_PRECOMPILE AND NOT no_precompile)
    target_compile_options(${target} PRIVATE -pthread)
    target_compile_definitions(${target} PRIVATE $<TARGET_PROPERTY:inhouse_precompiled,INTERFACE_COMPILE_DEFINITIONS>)
    target_precompile_headers(${target} REUSE_FROM inhouse_${name})
  endif()
endfunction()

# One room of the house is one static library with a file set of public headers.
#
#   inhouse_room(NAME engine_tensor
#                HEADERS dtype.h shape.h
#                SOURCES dtype.cc shape.cc
#                DEPS    inhouse::base fmt::fmt)
#
# The target is inhouse_<NAME>, its alias inhouse::<NAME>. Includes are written from the root of the tree
# ("engine/tensor/dtype.h"); each public header must compile on its own (VERIFY_INTERFACE_HEADER_SETS).
function(inhouse_room)
  cmake_parse_arguments(ROOM "" "NAME" "HEADERS;SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  set(target inhouse_${ROOM_NAME})
  if(ROOM_SOURCES)
    add_library(${target} STATIC ${ROOM_SOURCES})
    set(scope PUBLIC)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(inhouse::${ROOM_NAME} ALIAS ${target})
  target_sources(${target} ${scope} FILE_SET HEADERS BASE_DIRS "${CMAKE_SOURCE_DIR}" FILES ${ROOM_HEADERS})
  target_include_directories(${target} ${scope} "${CMAKE_SOURCE_DIR}")
  target_link_libraries(${target} ${scope} ${ROOM_DEPS})
  if(ROOM_PRIVATE_DEPS)
    target_link_libraries(${target} PRIVATE ${ROOM_PRIVATE_DEPS})
  endif()
  if(ROOM_SOURCES)
    if("nlohmann_json::nlohmann_json" IN_LIST ROOM_DEPS OR "nlohmann_json::nlohmann_json" IN_LIST ROOM_PRIVATE_DEPS)
      inhouse_precompile(${target} precompiled_json)
    else()
      inhouse_precompile(${target} precompiled)
    endif()
  endif()
  set_target_properties(${target} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
endfunction()

# GoogleTest: the system's library, or for a cross build its sources (Debian's libgtest-dev has both).
if(INHOUSE_TESTS)
  if(CMAKE_CROSSCOMPILING)
    set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
    set(BUILD_GMOCK OFF CACHE BOOL "" FORCE)
    add_subdirectory(/usr/src/googletest "${CMAKE_BINARY_DIR}/googletest" EXCLUDE_FROM_ALL)
    foreach(library gtest gtest_main)
      # Their warnings are not ours to mend.
      target_compile_options(${library} PRIVATE -w)
      if(NOT TARGET GTest::${library})
        add_library(GTest::${library} ALIAS ${library})
      endif()
    endforeach()
  else()
    find_package(GTest REQUIRED)
  endif()
endif()

# A room's tests stand beside its code.
#
#   inhouse_test(NAME engine_tensor_test SOURCES dtype_test.cc DEPS inhouse::engine_tensor [LABELS golden])
#
# Tests run in the root of the tree, so that they find tests/fixtures.
function(inhouse_test)
  if(NOT INHOUSE_TESTS)
    return()
  endif()
  cmake_parse_arguments(T "" "NAME" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${T_NAME} ${T_SOURCES})
  target_link_libraries(${T_NAME} PRIVATE ${T_DEPS} GTest::gtest GTest::gtest_main)
  inhouse_precompile(${T_NAME} precompiled_test)
  if(INHOUSE_SANITIZE MATCHES "thread")
    target_link_libraries(${T_NAME} PRIVATE inhouse_absl_under_tsan)
  endif()
  set_target_properties(${T_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  # `--target unit_tests` builds them all, and nothing that they do not need.
  if(NOT TARGET unit_tests)
    add_custom_target(unit_tests)
  endif()
  add_dependencies(unit_tests ${T_NAME})
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  add_test(NAME ${T_NAME} COMMAND ${T_NAME} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set(timeout 300)
  if(INHOUSE_SANITIZE OR CMAKE_CROSSCOMPILING)
    set(timeout 1800)
  endif()
  set_tests_properties(${T_NAME} PROPERTIES LABELS "${T_LABELS}" TIMEOUT ${timeout})
endfunction()

# A libFuzzer target (preset fuzz). Its seeds stand in tests/fuzz/corpus/<NAME>/.
function(inhouse_fuzz)
  if(NOT INHOUSE_FUZZ)
    return()
  endif()
  cmake_parse_arguments(T "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_executable(${T_NAME} EXCLUDE_FROM_ALL ${T_SOURCES})
  target_link_libraries(${T_NAME} PRIVATE ${T_DEPS})
  target_link_options(${T_NAME} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${T_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzz")
  # `--target fuzzers` builds them all, and of the rooms only what they need.
  if(NOT TARGET fuzzers)
    add_custom_target(fuzzers)
  endif()
  add_dependencies(fuzzers ${T_NAME})
endfunction()
