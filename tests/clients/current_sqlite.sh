#!/bin/sh
# Builds lockscope's tests against another SQLite and runs the core ones.
#
#   current_sqlite.sh SQLITE_FOLDER SOURCE_FOLDER BUILD_FOLDER [DEFINITIONS]
#
# SQLITE_FOLDER has sqlite3.c and sqlite3.h; DEFINITIONS are for compiling them, separated by
# semicolons. Runs that share BUILD_FOLDER compile only what their definitions change: SQLite.
#
# Exit status: 77 where there is no such SQLite.
set -eu
sqlite=$1 source=$2 build=$3 definitions=${4:-}
if [ ! -f "$sqlite/sqlite3.c" ]; then
  echo "skipped: there is no sqlite3.c in $sqlite"
  exit 77
fi
set --
if command -v ccache >/dev/null; then
  set -- -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache
fi
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DLOCKSCOPE_NESTED=ON \
  -DLOCKSCOPE_BENCH=OFF -DLOCKSCOPE_TOOLS=OFF -DLOCKSCOPE_INSTALL=OFF \
  -DLOCKSCOPE_SQLITE_SOURCE="$sqlite" -DLOCKSCOPE_SQLITE_DEFINES="$definitions" "$@"
cmake --build "$build"
grep -m1 '^#define SQLITE_VERSION ' "$sqlite/sqlite3.h"
exec ctest --test-dir "$build" --label-regex core --label-exclude long --parallel 2 \
  --output-on-failure --no-tests=error
