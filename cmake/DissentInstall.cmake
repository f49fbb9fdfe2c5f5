# Installs the library's package (DissentLibrary.cmake) and the program into a relocatable tree. The program searches libraries in lib/ of that tree
# (for copies), then where they were at build time (LibTorch's wheel, modules, conda), then in LD_LIBRARY_PATH.
include(GNUInstallDirs)
if(TARGET dissent_library)
  include(CMakePackageConfigHelpers)
  set(package_dir lib/cmake/Dissent)
  install(DIRECTORY include/dissent DESTINATION include)
  install(TARGETS dissent_library EXPORT DissentTargets ARCHIVE DESTINATION lib)
  install(EXPORT DissentTargets NAMESPACE Dissent:: DESTINATION ${package_dir})
  configure_package_config_file(cmake/DissentConfig.cmake.in ${PROJECT_BINARY_DIR}/generated/DissentConfig.cmake INSTALL_DESTINATION ${package_dir})
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/generated/DissentConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES cmake/FindLibTorch.cmake ${PROJECT_BINARY_DIR}/generated/DissentConfig.cmake ${PROJECT_BINARY_DIR}/generated/DissentConfigVersion.cmake
    DESTINATION ${package_dir})
endif()
if(NOT TARGET dissent)
  return()
endif()

# LibTorch's folder is named explicitly: INSTALL_RPATH_USE_LINK_PATH omits folders in the source tree, such as the wheel in .venv.
cmake_path(GET LibTorch_CPU_LIBRARY PARENT_PATH libtorch_folder)
set_target_properties(dissent PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};$ORIGIN/../lib" INSTALL_RPATH_USE_LINK_PATH TRUE)
set_target_properties(dissent_compute PROPERTIES INSTALL_RPATH "$ORIGIN/../../${CMAKE_INSTALL_LIBDIR};$ORIGIN/../../lib;${libtorch_folder}"
  INSTALL_RPATH_USE_LINK_PATH TRUE)
install(TARGETS dissent RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
set_target_properties(dissent_h5check PROPERTIES INSTALL_RPATH "$ORIGIN/../../${CMAKE_INSTALL_LIBDIR};$ORIGIN/../../lib" INSTALL_RPATH_USE_LINK_PATH TRUE)
install(TARGETS dissent_h5check RUNTIME DESTINATION libexec/dissent)  # started by dissent_compute
install(TARGETS dissent_compute RUNTIME DESTINATION libexec/dissent)  # where dissent looks for it (core/program_paths.cpp)
install(DIRECTORY jobs DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent)
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent)
install(DIRECTORY results/published DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent/results)
install(DIRECTORY slurm DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent USE_SOURCE_PERMISSIONS)
# send_to_wandb: where dissent looks for it (report/live_log.cpp). Not the scripts that build or test the tree.
install(PROGRAMS scripts/uni scripts/send_to_wandb scripts/sed_tables scripts/convert_sed_models.py scripts/download scripts/mpirun DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent/scripts)
install(FILES scripts/downloads.csv DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent/scripts)
install(FILES python/requirements-downloads.txt DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent/python)    # read by scripts/download
install(FILES data/classes/imagenet_classes.csv DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent/data/classes)
install(FILES README.md CONTRIBUTING.md LICENSE CITATION.cff DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
