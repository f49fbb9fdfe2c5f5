# dissent_module(NAME [LIGHT] SOURCES ... LINK ...): one static library per module; dissent_add_test, dissent_add_mpi_test.
#
# Compile time is dominated by headers: before its first own line, a source that includes ATen takes 1.5 s with the precompiled header and 12 s without.
# So several sources are compiled as one unit, which is why names in unnamed namespaces are unique within a module. The precompiled header has what most
# sources need, and nothing that would instantiate templates in each of them. docs/performance.md has the compile time of each target.
option(DISSENT_UNITY "Compile several sources of a module as one unit" ON)
set(DISSENT_UNIT_SOURCES 8 CACHE STRING "Sources per unit; 0: all of a module")  # a unit takes 5 to 25 s, and there are enough units for all cores

# Flags and include folders of all targets; the only libraries are fmt and spdlog.
add_library(dissent_light_options INTERFACE)
target_compile_options(dissent_light_options INTERFACE -fPIC -Wall -Wextra -Wno-unknown-pragmas)
if(DISSENT_WARNINGS_AS_ERRORS)
  target_compile_options(dissent_light_options INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC collects garbage only above 1 GB: that saves 7 % of the time. scripts/build allows for the memory.
  target_compile_options(dissent_light_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:--param=ggc-min-heapsize=1000000>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 18)
  # LibTorch is compiled by GCC, which mangles constrained template arguments as clang did before.
  target_compile_options(dissent_light_options INTERFACE -fclang-abi-compat=17)
endif()
if(DISSENT_SANITIZE)
  # A finding ends the process, so that no test ignores it. The assertions of libstdc++ find errors inside an allocation.
  target_compile_options(dissent_light_options INTERFACE -fsanitize=${DISSENT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  target_compile_definitions(dissent_light_options INTERFACE _GLIBCXX_ASSERTIONS)
  target_link_options(dissent_light_options INTERFACE -fsanitize=${DISSENT_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(dissent_light_options INTERFACE -Wno-maybe-uninitialized)  # false positives in instrumented code
  endif()
endif()
target_include_directories(dissent_light_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>)
target_link_libraries(dissent_light_options INTERFACE fmt::fmt spdlog::spdlog Threads::Threads)

# The same with LibTorch. Its imported targets make its headers SYSTEM headers. All targets share one precompiled header.
add_library(dissent_options INTERFACE)
target_link_libraries(dissent_options INTERFACE dissent_light_options LibTorch::cpu)
# By flag, not by path: LibTorch has its own libgomp.so.1, and a process must have only one.
target_compile_options(dissent_options INTERFACE ${OpenMP_CXX_FLAGS})
target_link_options(dissent_options INTERFACE ${OpenMP_CXX_FLAGS})

execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} describe --always --dirty OUTPUT_VARIABLE DISSENT_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
configure_file(${PROJECT_SOURCE_DIR}/cmake/build_info.hpp.in ${PROJECT_BINARY_DIR}/generated/build_info.hpp)

add_library(dissent_pch STATIC ${PROJECT_SOURCE_DIR}/src/core/pch.cpp)
target_link_libraries(dissent_pch PRIVATE dissent_options)
target_precompile_headers(dissent_pch PRIVATE ${PROJECT_SOURCE_DIR}/src/core/pch.hpp)

# dissent_units(TARGET [LIGHT]): uses the precompiled header, unless LIGHT, and compiles sources in units.
function(dissent_units TARGET)
  if(NOT "LIGHT" IN_LIST ARGN)
    target_precompile_headers(${TARGET} REUSE_FROM dissent_pch)
  endif()
  if(DISSENT_UNITY)
    set_target_properties(${TARGET} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${DISSENT_UNIT_SOURCES})
  endif()
endfunction()

# dissent_not_hot(TARGET): for code that handles text and files, where optimisation would take half of the compile time.
function(dissent_not_hot TARGET)
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_options(${TARGET} PRIVATE -O1)
  endif()
endfunction()

# LIGHT: the module does not use LibTorch, so that programs made only of such modules do not load it.
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

# dissent_add_test(losses SOURCES unit/losses/a2d_test.cpp ... LINK dissent_losses): one binary per module, one ctest entry, label unit.
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

# dissent_add_mpi_test(comm RANKS 1 2 3 4 SOURCES ... LINK ...): the same binary under mpirun for each number of ranks; output prefixed by rank, label mpi.
# Without leak detection: Open MPI does not free memory of plugins, which are unloaded before leaks are reported.
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
