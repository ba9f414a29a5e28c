#!/usr/bin/env bash
# The cases of tests/consumer/CMakeLists.txt: lockscope as others get it, installed into a folder of its
# own, which is not the one that the build was configured for.
#
#   consumer.sh CASE      with BUILD, PREFIX, LIBDIR, CMAKE, GENERATOR and VERSION in the environment
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=

fail() {
  echo "$*" >&2
  exit 1
}

# 77 is what CTest counts as skipped.
need() { command -v "$1" >/dev/null || { echo "skipped: there is no $1 here" >&2; exit 77; }; }

expect() {
  [[ $2 == "$1" ]] || fail "expected '$1', got '$2'"
}

make_scratch() {
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
}

run_app() {
  expect "lockscope $VERSION" "$("$1" "$scratch/app.db")"
}

install_tree() {
  rm -rf "$PREFIX"
  "$CMAKE" --install "$BUILD" --prefix "$PREFIX" >/dev/null
}

files() {
  local file
  for file in bin/lockscope "$LIBDIR/lockscope.so" "$LIBDIR/liblockscope.a" include/lockscope.h \
    "$LIBDIR/pkgconfig/lockscope.pc" "$LIBDIR/cmake/lockscope/lockscopeConfig.cmake" \
    share/man/man1/lockscope.1 share/bash-completion/completions/lockscope; do
    [[ -f $PREFIX/$file ]] || fail "$file is not installed"
  done
  [[ -x $PREFIX/bin/lockscope ]] || fail "bin/lockscope cannot be run"
  # Nothing of the folder it was built in may be written into what others read.
  if grep -rIl -e "$BUILD" "$PREFIX" >&2; then fail "the build's own folder is named there"; fi
}

# The extension exports its entry point and nothing else, and needs only what every Debian has.
extension_is_self_contained() {
  need nm
  need objdump
  local so=$PREFIX/$LIBDIR/lockscope.so needed
  expect sqlite3_lockscope_init "$(nm -D --defined-only --format=posix "$so" | cut -d' ' -f1)"
  for needed in $(objdump -p "$so" | awk '$1 == "NEEDED" { print $2 }'); do
    case $needed in
      libc.so.* | libm.so.* | ld-linux*) ;;
      *) fail "lockscope.so needs $needed" ;;
    esac
  done
}

find_package() {
  make_scratch
  "$CMAKE" -S "$here/project" -B "$scratch/build" -G "$GENERATOR" -DCONSUMER_LANGUAGE="$1" \
    -DCMAKE_PREFIX_PATH="$PREFIX" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF >"$scratch/log" 2>&1 ||
    { cat "$scratch/log" >&2; exit 1; }
  "$CMAKE" --build "$scratch/build" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
  run_app "$scratch/build/app"
}

pkg_config() {
  need pkg-config
  need cc
  make_scratch
  export PKG_CONFIG_PATH=$PREFIX/$LIBDIR/pkgconfig
  expect "$VERSION" "$(pkg-config --modversion lockscope)"
  # shellcheck disable=SC2046  # they are words
  cc -o "$scratch/app" "$here/project/app.c" $(pkg-config --cflags --libs lockscope)
  run_app "$scratch/app"
}

sqlite_shell() {
  need sqlite3
  make_scratch
  expect lockscope/unix "$(sqlite3 :memory: ".load $PREFIX/$LIBDIR/lockscope" \
    ".open $scratch/app.db" "create table t(x); select vfs from lockscope_connections")"
}

# The command brings the extension that was installed with it.
command_shell() {
  need sqlite3
  make_scratch
  sqlite3 "$scratch/app.db" "create table t(x)"
  expect "$scratch/app.db" "$("$PREFIX/bin/lockscope" shell "$scratch/app.db" \
    <<<"select lockscope_get('target');")"
}

case $1 in
  install) install_tree ;;
  files) files ;;
  self-contained) extension_is_self_contained ;;
  find-package) find_package "$2" ;;
  pkg-config) pkg_config ;;
  sqlite-shell) sqlite_shell ;;
  command-shell) command_shell ;;
  remove) rm -rf "$PREFIX" ;;
  *) fail "no case $1" ;;
esac
