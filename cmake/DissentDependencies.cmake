# Finds every library that Dissent uses, in any prefix (CMAKE_PREFIX_PATH, environment modules, conda, the system).
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache would not cache objects that use a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_DEPEND=1 CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.1)
  add_link_options(-fuse-ld=mold)
endif()

find_package(Threads REQUIRED)
if(NOT DISSENT_FUZZ)  # single-threaded there: clang's OpenMP would be a second one beside LibTorch's
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()
find_package(MPI 3.1 REQUIRED COMPONENTS CXX)
find_package(LibTorch 2.8 REQUIRED)
find_package(fmt REQUIRED)
# The torch wheel contains headers of another version of fmt, which would shadow the one that spdlog was built with.
find_path(FMT_INCLUDE_DIR NAMES fmt/core.h HINTS ${fmt_DIR}/../../../include ${fmt_DIR}/../../../../include NO_CMAKE_PATH REQUIRED)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/generated)
file(CREATE_LINK ${FMT_INCLUDE_DIR}/fmt ${PROJECT_BINARY_DIR}/generated/fmt SYMBOLIC)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(Boost REQUIRED COMPONENTS program_options)
find_package(ZLIB REQUIRED)
find_package(JPEG REQUIRED)  # libjpeg-turbo: tests compare pixels with the one in Pillow
find_package(PNG REQUIRED)

# HDF5: Debian has the parallel variant in a folder next to the serial one.
if(NOT HDF5_ROOT AND EXISTS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/hdf5/openmpi AND NOT CMAKE_PREFIX_PATH)
  set(HDF5_ROOT /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/hdf5/openmpi)
endif()
set(HDF5_PREFER_PARALLEL TRUE)
find_package(HDF5 REQUIRED COMPONENTS C)
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "HDF5: expected a parallel build (with MPI), found a serial one: ${HDF5_C_INCLUDE_DIRS}. "
    "Install libhdf5-openmpi-dev, load the module hdf5/parallel of your site, or set -DHDF5_ROOT=<prefix>.")
endif()
add_library(dissent_hdf5 INTERFACE)
target_include_directories(dissent_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(dissent_hdf5 INTERFACE ${HDF5_C_LIBRARIES} MPI::MPI_CXX)
target_compile_definitions(dissent_hdf5 INTERFACE ${HDF5_C_DEFINITIONS})

find_path(XXHASH_INCLUDE_DIR NAMES xxhash.h REQUIRED)
add_library(dissent_xxhash INTERFACE)
target_include_directories(dissent_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_compile_definitions(dissent_xxhash INTERFACE XXH_INLINE_ALL)

# CUDA needs the toolkit, NCCL and a LibTorch with CUDA; without one of them the program is built without CUDA.
set(DISSENT_WITH_CUDA OFF)
if(NOT DISSENT_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "DISSENT_CUDA: expected AUTO, ON or OFF, found '${DISSENT_CUDA}'")
endif()
if(NOT DISSENT_CUDA STREQUAL "OFF")
  find_package(CUDAToolkit QUIET)
  find_path(NCCL_INCLUDE_DIR NAMES nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ${NCCL_ROOT} PATH_SUFFIXES include)
  find_library(NCCL_LIBRARY NAMES nccl HINTS ${CUDAToolkit_LIBRARY_DIR} ${NCCL_ROOT} PATH_SUFFIXES lib lib64)
  if(CUDAToolkit_FOUND AND NCCL_INCLUDE_DIR AND NCCL_LIBRARY AND TARGET LibTorch::cuda)
    set(DISSENT_WITH_CUDA ON)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90)  # A100, H100, and later ones through PTX
    endif()
    set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE} CACHE FILEPATH "CUDA compiler")
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)  # this CMake does not support CUDA with C++20
    add_library(dissent_nccl INTERFACE)
    target_include_directories(dissent_nccl SYSTEM INTERFACE ${NCCL_INCLUDE_DIR})
    # Not LibTorch::cuda: load_cuda() loads it if a run uses a GPU, which saves a second for all others.
    target_link_libraries(dissent_nccl INTERFACE ${NCCL_LIBRARY} CUDA::cudart LibTorch::c10_cuda)
  elseif(DISSENT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "DISSENT_CUDA=ON: expected CUDA toolkit, NCCL and a LibTorch with CUDA; found CUDA toolkit '${CUDAToolkit_VERSION}', "
      "nccl.h '${NCCL_INCLUDE_DIR}', libnccl '${NCCL_LIBRARY}', libtorch_cuda '${LibTorch_CUDA_LIBRARY}'. "
      "Set -DCUDAToolkit_ROOT=<folder>, -DNCCL_ROOT=<folder> and a LibTorch with CUDA, or build without CUDA: -DDISSENT_CUDA=OFF")
  endif()
endif()
message(STATUS "Dissent: LibTorch ${LibTorch_VERSION}, MPI ${MPI_CXX_VERSION}, HDF5 ${HDF5_VERSION} parallel, CUDA and NCCL ${DISSENT_WITH_CUDA}")
