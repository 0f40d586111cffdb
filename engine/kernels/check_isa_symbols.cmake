# cmake -DNM=nm -DOBJECTS="a.o;b.o" -P check_isa_symbols.cmake
#
# No file that is compiled with the flags of an ISA level may define a symbol that the linker merges
# with copies from other files (weak, vague linkage): its copy could be the one that is kept, and the
# program would die on a CPU without that ISA.
set(checked 0)
foreach(object IN LISTS OBJECTS)
  if(NOT object MATCHES "/(avx|neon)[^/]*\\.o$")
    continue()
  endif()
  execute_process(COMMAND "${NM}" -C --defined-only "${object}" OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${NM} cannot read ${object}")
  endif()
  string(REGEX MATCHALL "[^\n]* [WVu] [^\n]*" shared "${symbols}")
  if(shared)
    message(FATAL_ERROR "${object} defines symbols that other files may share: ${shared}")
  endif()
  math(EXPR checked "${checked} + 1")
endforeach()
if(checked EQUAL 0)
  message(FATAL_ERROR "no object file of an ISA level among: ${OBJECTS}")
endif()
message(STATUS "${checked} object files of ISA levels share no symbols")
