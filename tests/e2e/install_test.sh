#!/usr/bin/env bash
# install_test.sh BUILD: the installed tree works after it was moved: program, headers, configurations, licence.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$1" --prefix "$work/first" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/moved"
tree=$work/moved
failures=0
for file in bin/dissent include/dissent/error.hpp share/dissent/configs/sed/ood_gen.toml share/doc/*/LICENSE share/doc/*/README.md; do
  # shellcheck disable=SC2086
  if ! ls "$tree"/$file >/dev/null 2>&1; then
    echo "FAILED: $file was not installed"
    failures=$((failures + 1))
  fi
done
if grep -rqF "$work/first" "$tree"; then
  echo "FAILED: the tree names the place where it was first: $(grep -rlF "$work/first" "$tree" | head -3)"
  failures=$((failures + 1))
fi
if ! env -u LD_LIBRARY_PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "$tree/bin/dissent" --help > "$work/log" 2>&1; then
  cat "$work/log"
  echo "FAILED: the moved program does not start"
  failures=$((failures + 1))
fi
[ "$failures" = 0 ] && echo "the installed tree can be moved"
exit "$failures"
