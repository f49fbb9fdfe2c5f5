# LibTorch as imported targets, from a pip wheel or a LibTorch archive, without TorchConfig.cmake
# (the one in the CUDA wheel requires a CUDA toolkit; these libraries find their dependencies themselves).
#
# Searches: LibTorch_ROOT, CMAKE_PREFIX_PATH, the folder of `import torch` in python3.
# Defines:  LibTorch::cpu, LibTorch::cuda (if the library exists), LibTorch_VERSION, LibTorch_ROOT_DIR
if(NOT LibTorch_ROOT AND NOT DEFINED CACHE{LibTorch_INCLUDE_DIR})
  foreach(_prefix IN ITEMS "$ENV{VIRTUAL_ENV}" "${PROJECT_SOURCE_DIR}/.venv" "$ENV{CONDA_PREFIX}")
    if(_prefix)
      list(APPEND _python_hints "${_prefix}/bin")
    endif()
  endforeach()
  find_program(DISSENT_PYTHON NAMES python3 python HINTS ${_python_hints})
  if(DISSENT_PYTHON)
    execute_process(COMMAND ${DISSENT_PYTHON} -c "import importlib.util, os; print(os.path.dirname(importlib.util.find_spec('torch').origin))"
      OUTPUT_VARIABLE _torch_from_python OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
endif()
set(_torch_hints ${LibTorch_ROOT} $ENV{LibTorch_ROOT} ${_torch_from_python})
find_path(LibTorch_INCLUDE_DIR NAMES ATen/ATen.h HINTS ${_torch_hints} PATH_SUFFIXES include)
find_path(LibTorch_API_INCLUDE_DIR NAMES torch/torch.h HINTS ${_torch_hints} ${LibTorch_INCLUDE_DIR}
  PATH_SUFFIXES include/torch/csrc/api/include torch/csrc/api/include)
find_library(LibTorch_CPU_LIBRARY NAMES torch_cpu HINTS ${_torch_hints} PATH_SUFFIXES lib)
find_library(LibTorch_C10_LIBRARY NAMES c10 HINTS ${_torch_hints} PATH_SUFFIXES lib)
find_library(LibTorch_CUDA_LIBRARY NAMES torch_cuda HINTS ${_torch_hints} PATH_SUFFIXES lib)
find_library(LibTorch_C10_CUDA_LIBRARY NAMES c10_cuda HINTS ${_torch_hints} PATH_SUFFIXES lib)
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_API_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_CUDA_LIBRARY LibTorch_C10_CUDA_LIBRARY)

foreach(_header IN ITEMS "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h" "${LibTorch_API_INCLUDE_DIR}/torch/version.h")
  if(EXISTS "${_header}" AND NOT LibTorch_VERSION)
    file(READ "${_header}" _torch_version_text)
    if(_torch_version_text MATCHES "TORCH_VERSION_MAJOR ([0-9]+).*TORCH_VERSION_MINOR ([0-9]+).*TORCH_VERSION_PATCH ([0-9]+)")
      set(LibTorch_VERSION "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
    endif()
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR LibTorch_API_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "install the wheel (python3 -m pip install -r requirements.txt) or set -DLibTorch_ROOT=<folder with include/ and lib/>")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  cmake_path(GET LibTorch_INCLUDE_DIR PARENT_PATH LibTorch_ROOT_DIR)
  add_library(LibTorch::c10 UNKNOWN IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION "${LibTorch_C10_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR};${LibTorch_API_INCLUDE_DIR}")
  add_library(LibTorch::cpu UNKNOWN IMPORTED)
  set_target_properties(LibTorch::cpu PROPERTIES IMPORTED_LOCATION "${LibTorch_CPU_LIBRARY}" INTERFACE_LINK_LIBRARIES LibTorch::c10)
  if(LibTorch_CUDA_LIBRARY AND LibTorch_C10_CUDA_LIBRARY)
    add_library(LibTorch::c10_cuda UNKNOWN IMPORTED)
    set_target_properties(LibTorch::c10_cuda PROPERTIES IMPORTED_LOCATION "${LibTorch_C10_CUDA_LIBRARY}" INTERFACE_LINK_LIBRARIES LibTorch::c10)
    add_library(LibTorch::cuda UNKNOWN IMPORTED)
    set_target_properties(LibTorch::cuda PROPERTIES IMPORTED_LOCATION "${LibTorch_CUDA_LIBRARY}" INTERFACE_LINK_LIBRARIES "LibTorch::cpu;LibTorch::c10_cuda")
  endif()
endif()
