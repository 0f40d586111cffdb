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
  set_target_properties(${target} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
endfunction()

# A room's tests stand beside its code.
#
#   inhouse_test(NAME engine_tensor_test SOURCES dtype_test.cc DEPS inhouse::engine_tensor [LABELS golden])
#
# Tests run in the root of the tree, so that they find tests/fixtures.
function(inhouse_test)
  cmake_parse_arguments(T "" "NAME" "SOURCES;DEPS;LABELS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${T_NAME} ${T_SOURCES})
  target_link_libraries(${T_NAME} PRIVATE ${T_DEPS} GTest::gtest GTest::gtest_main)
  set_target_properties(${T_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  add_test(NAME ${T_NAME} COMMAND ${T_NAME} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set_tests_properties(${T_NAME} PROPERTIES LABELS "${T_LABELS}" TIMEOUT 300)
endfunction()

# A libFuzzer target (preset fuzz). Its seeds stand in tests/fuzz/corpus/<NAME>/.
function(inhouse_fuzz)
  if(NOT INHOUSE_FUZZ)
    return()
  endif()
  cmake_parse_arguments(T "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_executable(${T_NAME} ${T_SOURCES})
  target_link_libraries(${T_NAME} PRIVATE ${T_DEPS})
  target_link_options(${T_NAME} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${T_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzz")
endfunction()
