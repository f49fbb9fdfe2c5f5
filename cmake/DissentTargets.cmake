# dissent_module(NAME SOURCES ... LINK ...): one static library a module; dissent_add_test, dissent_add_mpi_test.
add_library(dissent_options INTERFACE)
target_compile_options(dissent_options INTERFACE -fPIC -Wall -Wextra -Wno-unknown-pragmas)
if(DISSENT_WARNINGS_AS_ERRORS)
  target_compile_options(dissent_options INTERFACE -Werror)
endif()
if(DISSENT_SANITIZE)
  target_compile_options(dissent_options INTERFACE -fsanitize=${DISSENT_SANITIZE} -fno-omit-frame-pointer -g1)
  target_link_options(dissent_options INTERFACE -fsanitize=${DISSENT_SANITIZE})
endif()
target_include_directories(dissent_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>)
# Torch's headers are SYSTEM ones through the imported targets; one precompiled header serves every target.
target_link_libraries(dissent_options INTERFACE LibTorch::cpu fmt::fmt spdlog::spdlog Threads::Threads)
# By flag, not by path: LibTorch brings a libgomp.so.1 of its own and one process must have one.
target_compile_options(dissent_options INTERFACE ${OpenMP_CXX_FLAGS})
target_link_options(dissent_options INTERFACE ${OpenMP_CXX_FLAGS})

execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} describe --always --dirty OUTPUT_VARIABLE DISSENT_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
configure_file(${PROJECT_SOURCE_DIR}/cmake/build_info.hpp.in ${PROJECT_BINARY_DIR}/generated/build_info.hpp)

add_library(dissent_pch STATIC ${PROJECT_SOURCE_DIR}/src/core/pch.cpp)
target_link_libraries(dissent_pch PRIVATE dissent_options)
target_precompile_headers(dissent_pch PRIVATE ${PROJECT_SOURCE_DIR}/src/core/pch.hpp)

function(dissent_module NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(dissent_${NAME} STATIC ${ARG_SOURCES})
  target_link_libraries(dissent_${NAME} PUBLIC dissent_options ${ARG_LINK})
  target_precompile_headers(dissent_${NAME} REUSE_FROM dissent_pch)
  # Modules that the installed library compiles as one unit too: their names are unique, and a few large units build faster.
  if(NAME MATCHES "^(losses|scores|metrics)$")
    set_target_properties(dissent_${NAME} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
  endif()
endfunction()

# dissent_add_test(losses SOURCES unit/losses/a2d_test.cpp ... LINK dissent_losses): one binary a module, one ctest entry, label unit.
function(dissent_add_test NAME)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${NAME}_test ${ARG_SOURCES})
  target_link_libraries(${NAME}_test PRIVATE dissent_test_main ${ARG_LINK})
  target_precompile_headers(${NAME}_test REUSE_FROM dissent_pch)
  add_test(NAME ${NAME} COMMAND ${NAME}_test)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  set_tests_properties(${NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}" ENVIRONMENT "OMP_NUM_THREADS=1;DISSENT_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
endfunction()

# dissent_add_mpi_test(comm RANKS 1 2 3 4 SOURCES ... LINK ...): the same binary under mpirun for each count; output prefixed by rank, label mpi.
function(dissent_add_mpi_test NAME)
  cmake_parse_arguments(ARG "" "TIMEOUT" "RANKS;SOURCES;LINK" ${ARGN})
  add_executable(${NAME}_mpi_test ${ARG_SOURCES})
  target_link_libraries(${NAME}_mpi_test PRIVATE dissent_mpi_test_main ${ARG_LINK})
  target_precompile_headers(${NAME}_mpi_test REUSE_FROM dissent_pch)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  foreach(ranks IN LISTS ARG_RANKS)
    add_test(NAME ${NAME}_mpi_${ranks} COMMAND ${PROJECT_SOURCE_DIR}/tests/mpirun ${ranks} $<TARGET_FILE:${NAME}_mpi_test>)
    set_tests_properties(${NAME}_mpi_${ranks} PROPERTIES PROCESSORS ${ranks} TIMEOUT ${ARG_TIMEOUT} LABELS mpi
      ENVIRONMENT "OMP_NUM_THREADS=1;DISSENT_EXPECTED_RANKS=${ranks};DISSENT_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
  endforeach()
endfunction()
