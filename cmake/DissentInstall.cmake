# A tree that can be moved: the program finds libraries in the lib/ beside it (for those who put copies there), then where they were at build
# time (LibTorch's wheel, modules, conda), then through LD_LIBRARY_PATH.
include(GNUInstallDirs)
set_target_properties(dissent PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};$ORIGIN/../lib" INSTALL_RPATH_USE_LINK_PATH TRUE)
install(TARGETS dissent RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/dissent DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent)
install(DIRECTORY slurm DESTINATION ${CMAKE_INSTALL_DATADIR}/dissent USE_SOURCE_PERMISSIONS)
install(FILES README.md CONTRIBUTING.md LICENSE CITATION.cff DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
