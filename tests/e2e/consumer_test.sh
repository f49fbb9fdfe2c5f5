#!/usr/bin/env bash
# consumer_test.sh BUILD LIBTORCH_ROOT: another CMake project (consumer/) builds against the installed tree, which was moved, and needs LibTorch alone.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
build=$1 torch=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
failed() { printf 'FAILED: %s\n' "$*"; failures=$((failures + 1)); }

cmake --install "$build" --prefix "$work/first" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/tree"

# configure FOLDER OPTIONS...: of the consumer, without ccache, without what this shell knows of other places.
configure() {
  local folder=$1
  shift
  env -u CMAKE_PREFIX_PATH -u LibTorch_ROOT \
    cmake -S "$source_dir/tests/e2e/consumer" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_PREFIX_PATH="$work/tree" \
    -DLibTorch_ROOT="$torch" "$@" > "$work/log" 2>&1
}

configure "$work/app" -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" || { cat "$work/log"; exit 1; }
ninja -C "$work/app" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# p = softmax: loss -|p_0 - p_1|^2 / 4, its derivative with respect to the first logit -(p_0 - p_1)_0 p_00 p_01.
expected=$(awk 'BEGIN { p = 1 / (1 + exp(1)); q = 1 / (1 + exp(-3)); d = p - q; printf "%.5f %.5f", -d * d / 2, -d * p * (1 - p) }')
"$work/app/app" > "$work/out" || failed "the program ended with $?"
found=$(awk 'NR == 1 { printf "%.5f %.5f", $1, $2 }' "$work/out")
[ "$found" = "$expected" ] || failed "loss and derivative are $found, expected $expected"
grep -qF 'ncl: logits: expected [M >= 2, B >= 1, C >= 1] of f32 or f64, found [1, 2] Double cpu' "$work/out" ||
  failed "no error for a wrong shape: $(cat "$work/out")"
for library in mpi hdf5 boost fmt spdlog toml gomp; do
  if readelf -d "$work/app/app" | grep NEEDED | grep -qi "$library"; then failed "the program needs $library"; fi
done
if grep -aqF "$source_dir" "$work/tree/lib/libdissent.a"; then failed "the library names the place where it was compiled"; fi

# Another LibTorch than the one it was built with.
config=$work/tree/lib/cmake/Dissent/DissentConfig.cmake
version=$(sed -n 's/^set(Dissent_LIBTORCH_VERSION "\(.*\)")/\1/p' "$config")
sed -i 's/^set(Dissent_LIBTORCH_VERSION ".*")/set(Dissent_LIBTORCH_VERSION "1.2.3")/' "$config"
if configure "$work/other"; then failed "LibTorch $version was taken for 1.2.3"; fi
tr -s '\n ' '  ' < "$work/log" | grep -qF "was built with LibTorch 1.2.3, found $version" ||
  failed "the two versions are not named: $(cat "$work/log")"
configure "$work/other" -DDissent_ANY_LIBTORCH=ON || failed "Dissent_ANY_LIBTORCH has no effect: $(cat "$work/log")"

# The page shows these very files.
while IFS= read -r line; do
  grep -qxF -- "$line" "$source_dir/docs/library.md" || failed "docs/library.md lacks: $line"
done < <(cat "$source_dir"/tests/e2e/consumer/*)
[ "$failures" = 0 ] && echo "a project of its own builds against the installed library"
exit "$((failures > 0))"
