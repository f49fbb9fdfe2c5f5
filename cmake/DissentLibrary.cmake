# The installed library, Dissent::dissent: losses, scores, metrics and the parts of core that they need, compiled separately from the program.
# Its users need only LibTorch: fmt is compiled in (header only); OpenMP, MPI, HDF5, Boost, toml++ and spdlog are not used.
# One compilation unit per module (seconds instead of minutes), so names in unnamed namespaces are unique within a module.
option(DISSENT_BUILD_LIBRARY "Build the library for other programs" ON)
if(NOT DISSENT_BUILD_LIBRARY)
  return()
endif()

# dissent_unit(FILE SOURCES...): writes FILE, which includes all SOURCES.
function(dissent_unit FILE)
  list(JOIN ARGN "\"\n#include \"" includes)
  file(CONFIGURE OUTPUT ${FILE} CONTENT "#include \"core/prelude.hpp\"\n#include \"${includes}\"\n" @ONLY)
endfunction()

foreach(module IN ITEMS losses scores metrics)
  get_target_property(${module}_sources dissent_${module} SOURCES)
endforeach()
set(units ${PROJECT_BINARY_DIR}/generated/library_losses.cpp ${PROJECT_BINARY_DIR}/generated/library_scores.cpp)
list(GET units 0 unit)
dissent_unit(${unit} core/error.cpp core/random.cpp core/options.cpp core/option_page.cpp core/parallel.cpp ${losses_sources})
list(GET units 1 unit)
dissent_unit(${unit} ${scores_sources} ${metrics_sources})

add_library(dissent_library STATIC ${units})
set_target_properties(dissent_library PROPERTIES OUTPUT_NAME dissent EXPORT_NAME dissent)
# ${PROJECT_BINARY_DIR}/generated comes first: it links to the fmt that was found; LibTorch's include folder contains another version.
target_include_directories(dissent_library PRIVATE $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
  PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_compile_definitions(dissent_library PRIVATE FMT_HEADER_ONLY=1)
target_compile_options(dissent_library PRIVATE -fPIC -Wall -Wextra -Wno-unknown-pragmas
  -ffile-prefix-map=${PROJECT_SOURCE_DIR}/= -ffile-prefix-map=${PROJECT_BINARY_DIR}/=)
if(DISSENT_WARNINGS_AS_ERRORS)
  target_compile_options(dissent_library PRIVATE -Werror)
endif()
if(DISSENT_SANITIZE)
  target_compile_options(dissent_library PRIVATE -fsanitize=${DISSENT_SANITIZE} -fno-omit-frame-pointer -g1)
  target_link_options(dissent_library PUBLIC -fsanitize=${DISSENT_SANITIZE})
endif()
target_compile_features(dissent_library PUBLIC cxx_std_20)
target_link_libraries(dissent_library PUBLIC LibTorch::cpu)
