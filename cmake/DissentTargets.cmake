# dissent_module(NAME [LIGHT] SOURCES ... LINK ...): one static library a module; dissent_add_test, dissent_add_mpi_test.
#
# What a compilation costs here is headers: a source that includes ATen takes 1.5 s with the precompiled header and 12 s without before its first own
# line. So sources are compiled several to a unit, names in unnamed namespaces are unique within a module, and the precompiled header holds what most
# sources need and nothing that instantiates templates in each of them. docs/performance.md has the table of targets.
option(DISSENT_UNITY "Compile several sources of a module as one unit" ON)
set(DISSENT_UNIT_SOURCES 8 CACHE STRING "Sources of a unit; 0: all of a module")  # a unit takes 5 to 25 s: enough units for as many cores as machines have

# Flags and include folders, of everything; no library but fmt.
add_library(dissent_light_options INTERFACE)
target_compile_options(dissent_light_options INTERFACE -fPIC -Wall -Wextra -Wno-unknown-pragmas)
if(DISSENT_WARNINGS_AS_ERRORS)
  target_compile_options(dissent_light_options INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Garbage is collected from 1 GB on: 7 % of a unit's time, for memory that scripts/build counts with.
  target_compile_options(dissent_light_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:--param=ggc-min-heapsize=1000000>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 18)
  # LibTorch is compiled by GCC, which mangles constrained template arguments as clang did before.
  target_compile_options(dissent_light_options INTERFACE -fclang-abi-compat=17)
endif()
if(DISSENT_SANITIZE)
  # What they find ends the process: else a test would pass over it. The library's assertions find what lies inside of an allocation.
  target_compile_options(dissent_light_options INTERFACE -fsanitize=${DISSENT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  target_compile_definitions(dissent_light_options INTERFACE _GLIBCXX_ASSERTIONS)
  target_link_options(dissent_light_options INTERFACE -fsanitize=${DISSENT_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(dissent_light_options INTERFACE -Wno-maybe-uninitialized)  # false ones come with instrumented code
  endif()
endif()
target_include_directories(dissent_light_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>)
target_link_libraries(dissent_light_options INTERFACE fmt::fmt spdlog::spdlog Threads::Threads)

# The same with LibTorch. Its headers are SYSTEM ones through the imported targets; one precompiled header serves every target.
add_library(dissent_options INTERFACE)
target_link_libraries(dissent_options INTERFACE dissent_light_options LibTorch::cpu)
# By flag, not by path: LibTorch brings a libgomp.so.1 of its own and one process must have one.
target_compile_options(dissent_options INTERFACE ${OpenMP_CXX_FLAGS})
target_link_options(dissent_options INTERFACE ${OpenMP_CXX_FLAGS})

execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} describe --always --dirty OUTPUT_VARIABLE DISSENT_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
configure_file(${PROJECT_SOURCE_DIR}/cmake/build_info.hpp.in ${PROJECT_BINARY_DIR}/generated/build_info.hpp)

add_library(dissent_pch STATIC ${PROJECT_SOURCE_DIR}/src/core/pch.cpp)
target_link_libraries(dissent_pch PRIVATE dissent_options)
target_precompile_headers(dissent_pch PRIVATE ${PROJECT_SOURCE_DIR}/src/core/pch.hpp)

# dissent_units(TARGET [LIGHT]): the precompiled header, unless it is light, and sources compiled together.
function(dissent_units TARGET)
  if(NOT "LIGHT" IN_LIST ARGN)
    target_precompile_headers(${TARGET} REUSE_FROM dissent_pch)
  endif()
  if(DISSENT_UNITY)
    set_target_properties(${TARGET} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${DISSENT_UNIT_SOURCES})
  endif()
endfunction()

# dissent_not_hot(TARGET): code that handles text and files; half the time of compiling it is that of optimisers.
function(dissent_not_hot TARGET)
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_options(${TARGET} PRIVATE -O1)
  endif()
endfunction()

# LIGHT: the module uses no LibTorch, so that programs made of such modules alone do not load it.
function(dissent_module NAME)
  cmake_parse_arguments(ARG "LIGHT" "" "SOURCES;LINK" ${ARGN})
  add_library(dissent_${NAME} STATIC ${ARG_SOURCES})
  if(ARG_LIGHT)
    target_link_libraries(dissent_${NAME} PUBLIC dissent_light_options ${ARG_LINK})
    dissent_units(dissent_${NAME} LIGHT)
    dissent_not_hot(dissent_${NAME})
  else()
    target_link_libraries(dissent_${NAME} PUBLIC dissent_options ${ARG_LINK})
    dissent_units(dissent_${NAME})
  endif()
endfunction()

# dissent_add_test(losses SOURCES unit/losses/a2d_test.cpp ... LINK dissent_losses): one binary a module, one ctest entry, label unit.
function(dissent_add_test NAME)
  cmake_parse_arguments(ARG "LIGHT" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${NAME}_test ${ARG_SOURCES})
  if(ARG_LIGHT)
    target_link_libraries(${NAME}_test PRIVATE dissent_light_test_main ${ARG_LINK})
    dissent_units(${NAME}_test LIGHT)
  else()
    target_link_libraries(${NAME}_test PRIVATE dissent_test_main ${ARG_LINK})
    dissent_units(${NAME}_test)
  endif()
  add_test(NAME ${NAME} COMMAND ${NAME}_test)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  set_tests_properties(${NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}" ENVIRONMENT "OMP_NUM_THREADS=1;DISSENT_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
endfunction()

# No search for leaks there: Open MPI keeps memory to the end, of plugins that are no longer loaded when it is asked whose it was.
# dissent_add_mpi_test(comm RANKS 1 2 3 4 SOURCES ... LINK ...): the same binary under mpirun for each count; output prefixed by rank, label mpi.
function(dissent_add_mpi_test NAME)
  cmake_parse_arguments(ARG "" "TIMEOUT" "RANKS;SOURCES;LINK" ${ARGN})
  add_executable(${NAME}_mpi_test ${ARG_SOURCES})
  target_link_libraries(${NAME}_mpi_test PRIVATE dissent_mpi_test_main ${ARG_LINK})
  dissent_units(${NAME}_mpi_test)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  foreach(ranks IN LISTS ARG_RANKS)
    add_test(NAME ${NAME}_mpi_${ranks} COMMAND ${PROJECT_SOURCE_DIR}/tests/mpirun ${ranks} $<TARGET_FILE:${NAME}_mpi_test>)
    set_tests_properties(${NAME}_mpi_${ranks} PROPERTIES PROCESSORS ${ranks} TIMEOUT ${ARG_TIMEOUT} LABELS mpi
      ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1;OMP_NUM_THREADS=1;DISSENT_EXPECTED_RANKS=${ranks};DISSENT_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
  endforeach()
endfunction()
