# What `cmake --install` puts where, besides the targets themselves (each installed where it is made),
# and how other builds find it: CMake's package and pkg-config's file, both good for a tree that is
# moved afterwards.
include(CMakePackageConfigHelpers)

set(LOCKSCOPE_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/lockscope")
install(EXPORT lockscopeTargets NAMESPACE lockscope:: DESTINATION "${LOCKSCOPE_PACKAGE_DIR}")
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/lockscopeConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/lockscopeConfig.cmake" INSTALL_DESTINATION "${LOCKSCOPE_PACKAGE_DIR}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/lockscopeConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/lockscopeConfig.cmake"
  "${PROJECT_BINARY_DIR}/lockscopeConfigVersion.cmake" DESTINATION "${LOCKSCOPE_PACKAGE_DIR}")

# Folders that were given as absolute paths stay where they are; others move with the tree.
set(pc_dir "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(LOCKSCOPE_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH up "${pc_dir}" "${CMAKE_INSTALL_PREFIX}")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(LOCKSCOPE_PC_PREFIX "\${pcfiledir}/${up}")
endif()
foreach(kind LIBDIR INCLUDEDIR)
  set(LOCKSCOPE_PC_${kind} "${CMAKE_INSTALL_${kind}}")
  if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_${kind}}")
    string(PREPEND LOCKSCOPE_PC_${kind} "\${prefix}/")
  endif()
endforeach()
configure_file("${CMAKE_CURRENT_LIST_DIR}/lockscope.pc.in" "${PROJECT_BINARY_DIR}/lockscope.pc"
  @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/lockscope.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
