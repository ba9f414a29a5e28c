#!/bin/sh
# Installs and builds the pinned better-sqlite3 of package-lock.json into a folder.
#
#   install_better_sqlite3.sh FOLDER
#
# Exit status: 0 it is there (also from an earlier run) · 77 this machine cannot: no npm, no Node
# headers beside node, or the registry is out of its reach · else what failed.
#
# Compiling takes minutes, so what is there already is kept for as long as the lock file and node are
# the same. The headers are the installed node's own: nothing is downloaded but the packages.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/node" && pwd)
folder=$1

skip() {
  echo "skipped: $1"
  exit 77
}
command -v npm >/dev/null || skip "there is no npm"
node=$(command -v node) || skip "there is no node"
prefix=$(dirname -- "$(dirname -- "$(readlink -f -- "$node")")")
[ -f "$prefix/include/node/node.h" ] || skip "there are no Node headers in $prefix/include/node"

wanted="$(cat "$here/package-lock.json") $(node --version)"
if [ -f "$folder/installed" ] && [ "$(cat "$folder/installed")" = "$wanted" ]; then
  echo "better-sqlite3 is there"
  exit 0
fi

mkdir -p "$folder"
rm -f "$folder/installed"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$folder"
cd "$folder"
if command -v ccache >/dev/null; then
  export CC="ccache ${CC:-cc}" CXX="ccache ${CXX:-c++}"
fi
# From source, not a prebuilt binary from elsewhere: what is tested is what was locked.
status=0
npm_config_build_from_source=true npm_config_nodedir="$prefix" \
  npm_config_jobs=$(nproc) npm_config_loglevel=error npm ci --foreground-scripts >log 2>&1 ||
  status=$?
cat log
if [ "$status" -ne 0 ]; then
  reason=$(sed -nE 's/^npm (ERR!|error) code (E(NOTFOUND|AI_AGAIN|TIMEDOUT|CONNREFUSED|CONNRESET|HOSTUNREACH|NETUNREACH)|[A-Z_]*CERT[A-Z_]*)$/\2/p' log | head -n 1)
  [ -z "$reason" ] || skip "the npm registry cannot be reached ($reason)"
  exit "$status"
fi
node -e 'new (require("better-sqlite3"))(":memory:")'
printf '%s' "$wanted" >installed
