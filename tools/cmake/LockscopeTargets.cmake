# Helpers that give every target of this project the same warnings, sanitizers and SQLite.

# Our own code: all warnings, as errors; sanitizers and clang-tidy where asked for.
function(lockscope_own_code target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
    # GCC 12 sees an overlap in "text" + std::string where there is none (its bug 105651).
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
    $<$<OR:$<BOOL:${PROJECT_IS_TOP_LEVEL}>,$<BOOL:${LOCKSCOPE_TESTS}>>:-Werror>)
  set_target_properties(${target} PROPERTIES
    CXX_VISIBILITY_PRESET hidden C_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  lockscope_sanitize(${target})
  if(LOCKSCOPE_TIDY)
    find_program(LOCKSCOPE_CLANG_TIDY clang-tidy REQUIRED)
    set_target_properties(${target} PROPERTIES
      # clang does not know the -Wno-restrict that GCC needs.
      CXX_CLANG_TIDY "${LOCKSCOPE_CLANG_TIDY};--warnings-as-errors=*;--quiet;--extra-arg=-Wno-unknown-warning-option")
  endif()
endfunction()

function(lockscope_sanitize target)
  if(LOCKSCOPE_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${LOCKSCOPE_SANITIZE}
      -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${LOCKSCOPE_SANITIZE})
  endif()
endfunction()

# Defines lockscope::sqlite3: the system's SQLite, or one built from LOCKSCOPE_SQLITE_SOURCE. The
# amalgamation is built without sanitizers: its wal-index code races by design.
macro(lockscope_find_sqlite)
  add_library(lockscope_sqlite3 INTERFACE)
  add_library(lockscope::sqlite3 ALIAS lockscope_sqlite3)
  if(LOCKSCOPE_SQLITE_SOURCE)
    find_file(LOCKSCOPE_AMALGAMATION sqlite3.c PATHS "${LOCKSCOPE_SQLITE_SOURCE}"
      NO_DEFAULT_PATH REQUIRED)
    add_library(lockscope_amalgamation STATIC "${LOCKSCOPE_AMALGAMATION}")
    target_include_directories(lockscope_amalgamation SYSTEM PUBLIC "${LOCKSCOPE_SQLITE_SOURCE}")
    target_compile_definitions(lockscope_amalgamation
      PRIVATE SQLITE_THREADSAFE=1 SQLITE_USE_URI=1 SQLITE_ENABLE_COLUMN_METADATA
              ${LOCKSCOPE_SQLITE_DEFINES})
    target_compile_options(lockscope_amalgamation PRIVATE -w)
    target_link_libraries(lockscope_amalgamation PUBLIC Threads::Threads ${CMAKE_DL_LIBS} m)
    target_link_libraries(lockscope_sqlite3 INTERFACE lockscope_amalgamation)
  else()
    find_package(SQLite3 3.37 REQUIRED)
    target_link_libraries(lockscope_sqlite3 INTERFACE SQLite::SQLite3)
  endif()
endmacro()
