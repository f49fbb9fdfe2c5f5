#!/usr/bin/env bash
# bundle_test.sh BUILD: scripts/bundle packs the built tree; unpacked at a place with a space in its name it works in a mount namespace in which the
# system's copies of what it carries (Open MPI, HDF5, ...) and the build folder are hidden, and which has no network but lo: training on two ranks from a
# cache, reference cases, GPU tests.
set -euo pipefail
if [ "${2:-}" != inside ]; then
  build=$(cd "$1" && pwd)
  . "$(dirname "$0")/../../scripts/lib.sh"
  here=$root/tests/e2e
  work=$(mktemp -d)
  limited=
  trap 'if [ -n "$limited" ]; then kill "$limited" 2>/dev/null; wait "$limited" || true; fi; cd /; rm -rf "$work"' EXIT
  failures=0
  failed() { printf 'FAILED: %s\n' "$*"; failures=$((failures + 1)); }

  scripts/bundle --build "$build" --output "$work" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  cat "$work/log"
  archive=$(ls "$work"/dissent-bundle-*.tar.xz)
  size=$(stat -c %s "$archive")
  [ "$size" -le $((36 << 20)) ] || failed "the archive has $size bytes, more than 36 MiB"
  # In addition to what follows: one that is larger than its limit.
  mkdir "$work/limited" "$work/try"
  scripts/bundle --build "$build" --output "$work/limited" --limit 1 > "$work/limited.log" 2>&1 &
  limited=$!

  mkdir "$work/a place"
  python3 -m tarfile -e "$archive" "$work/a place"
  tree=$(echo "$work/a place"/dissent-bundle-*)
  while IFS= read -r file; do
    if readelf -d "$file" 2>/dev/null | grep -E '\(R(UN)?PATH\)' | grep -vq '\[\$ORIGIN'; then failed "$file: $(readelf -d "$file" | grep -E '\(R(UN)?PATH\)')"; fi
  done < <(find "$tree" -type f \( -perm -u+x -o -name '*.so*' \))
  excluded=$(find "$tree" -name 'libc.so*' -o -name 'libm.so*' -o -name 'ld-*' -o -name 'libpthread*' -o -name 'libtorch*' -o -name 'libc10*' -o -name 'libcuda*' -o -name 'libnccl*')
  [ -z "$excluded" ] || failed "the target's are carried: $excluded"

  # Everything that it carries is hidden, as long as the tools of this test do not need it; as root, or in a user namespace where those are permitted.
  status=77
  for namespaces in -mn -rmn; do
    if unshare "$namespaces" mount -t tmpfs tmpfs "$work/try" 2>/dev/null; then
      status=0
      unshare "$namespaces" bash "$here/bundle_test.sh" "$build" inside "$work" "$tree" "$(torch_python)" "$(torch_root)" || status=$?
      break
    fi
  done
  [ "$status" = 0 ] || [ "$status" = 77 ] || failed "the part in the namespace ended with $status"

  code=0
  wait "$limited" || code=$?
  limited=
  [ "$code" = 1 ] || failed "a limit of 1 MiB: exit code $code, expected 1"
  grep -qE 'the bundle would take 2[0-9]\.[0-9] MiB, the limit is 1 MiB' "$work/limited.log" || failed "the size and its limit are not named: $(tail -n 3 "$work/limited.log")"
  [ -z "$(ls -A "$work/limited")" ] || failed "left behind: $(ls -A "$work/limited")"

  [ "$failures" = 0 ] || exit 1
  if [ "$status" = 77 ]; then echo "skipped: missing privilege: to mount a tmpfs and to make a network, as root (unshare -mn) or in a user namespace (unshare -rmn)"; fi
  exit "$status"
fi

build=$1 work=$3 tree=$4 torch_python=$5 torch_root=$6
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
failures=0
failed() { printf 'FAILED: %s\n' "$*"; failures=$((failures + 1)); }
# A command that fails without a word would end the test so.
trap 'printf "line %s: exit code %s: %s\n" "$LINENO" "$?" "$BASH_COMMAND"' ERR
mkdir "$work/home of tests"
cd "$work/home of tests"
export TMPDIR=$PWD PATH=/usr/local/bin:/usr/bin:/bin:$PATH
# A window of MPI's is looked for here.
mount -t tmpfs -o size=256m tmpfs /dev/shm
"$torch_python" -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh22x", b"lo", 0x41))'  # SIOCSIFFLAGS: up, running

cp "$source_dir"/tests/data/mnist/* .
touch empty
python3 - "$tree/share/dissent/bundle.json" > carried <<'PYTHON'
import json, sys
record = json.load(open(sys.argv[1]))
print(*(path for name, path in record["libraries"].items() if not name.startswith(("libstdc++", "libgcc_s", "libgomp", "libatomic"))), sep="\n")
PYTHON
ompi_info --parsable --path all > paths
{
  sed -n 's/^path:\(pkglibdir\|pkgdatadir\|sysconfdir\)://p; s|^path:bindir:\(.*\)|\1/orterun\n\1/orted|p' paths
  dirname "$(grep -F /libpmix.so carried)"
} > places
for tool in bash env python3 "$torch_python" grep sed awk find sort head mount readlink stat sleep; do ldd "$(readlink -f "$(command -v "$tool")")" 2>/dev/null || true; done | grep -o '/[^ ]*' | sort -u | while IFS= read -r library; do realpath "$library"; done > needed_by_tools
hidden=()  # files before the folder that they are in
while IFS= read -r place; do
  if [ -d "$place" ]; then mount -t tmpfs tmpfs "$place"; else mount --bind empty "$place"; fi
  hidden+=("$place")
done < <({ grep -vxFf needed_by_tools carried; cat places; echo "$build"; } | xargs -d '\n' realpath -e | sort -ru)
echo "${#hidden[@]} files and folders are hidden"

# They are: the build folder is empty, the system's mpirun and libraries are of no use.
[ -z "$(ls -A "$build")" ] || failed "the build folder is not hidden"
if mpirun --version > out 2>&1; then failed "the system's mpirun works: $(head -n 1 out)"; fi
for library in libmpi.so libopen-pal.so libopen-rte.so libpmix.so libhdf5 libhwloc.so libevent_core libspdlog.so libfmt.so libjpeg.so; do
  path=$(grep -F "/$library" carried | head -n 1)
  if [ -z "$path" ] || [ -s "$path" ]; then failed "$library: '$path' is not hidden"; fi
done

# user COMMAND...: with nothing of this shell's environment.
clean=(env -i HOME="$PWD" TMPDIR="$PWD" LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin OMP_NUM_THREADS=1 DISSENT_TORCH="$torch_python")
user() { "${clean[@]}" "$@"; }
# well COMMAND...: it ends with 0. says TEXT: in its output.
well() {
  local status=0
  user "$@" > out 2>&1 || status=$?
  if [ "$status" != 0 ]; then
    tail -n 15 out
    failed "$* ended with $status"
  fi
}
says() { grep -qF -- "$1" out || { head -n 20 out; failed "it does not say: $1"; }; }
# refused CODE TEXT COMMAND...
refused() {
  local code=$1 text=$2 status=0
  shift 2
  user "$@" > out 2>&1 || status=$?
  [ "$status" = "$code" ] || failed "$* ended with $status, expected $code"
  says "$text"
}
dissent=$tree/bin/dissent mpirun=$tree/bin/mpirun

well "$dissent" --version
well "$mpirun" --version
says "mpirun (Open MPI)"
well "$mpirun" -n 2 "$dissent" doctor --folder .
refused 134 "unable to find the specified executable file" "$mpirun" -n 1 nothere  # a text of Open MPI, whose code this is

# A cache and a training of heads from it; on one rank it ends with the same bytes.
printf '[data]\ndataset = "mnist"\nsplit = "test"\nroot = "."\n[cache]\noutput = "train.cache"\n' > cache.toml
printf 'experiment = "two"\n[data]\ntrain = "train.cache"\n[ensemble]\nmembers = 2\nhidden = 16\n[loss.cross_entropy]\n[training]\nepochs = 2\n' > train.toml
well "$mpirun" -n 2 "$dissent" cache cache.toml --quiet
well "$mpirun" -n 2 "$dissent" train train.toml --quiet
well "$dissent" train train.toml --quiet --set output=alone
cmp -s results/two/seed-42/checkpoint.h5 alone/two/seed-42/checkpoint.h5 || failed "two ranks and one do not train the same"

# The libraries and the shared window of ranks at work.
"${clean[@]}" "$mpirun" -n 2 "$dissent" train train.toml --quiet --set experiment=long --set training.epochs=100000 > long 2>&1 &
training=$!
ranks=()
for _ in $(seq 600); do
  ranks=()
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/exe")" = "$tree/libexec/dissent/dissent-compute" ] && grep -q ' /dev/shm/osc_sm' "$process/maps" 2>/dev/null; then ranks+=("$process"); fi
  done
  if { [ ${#ranks[@]} = 2 ] && [ -e results/long/seed-42/progress.json ]; } || ! kill -0 "$training" 2>/dev/null; then break; fi
  sleep 0.1
done
if [ ${#ranks[@]} = 2 ]; then
  for process in "${ranks[@]}"; do
    cp "$process/maps" maps
    for library in lib/lib{mpi.so.40,open-pal.so.40,hdf5_openmpi.so.,spdlog.so.,pmix.so.2} lib/openmpi/mca_{osc_sm,pmix_ext3x}.so pmix/lib/pmix/pmix_mca_pcompress_zlib.so; do
      grep -qF "$tree/$library" maps || failed "$library of the bundle is not loaded"
    done
    foreign=$(awk '{ $1 = $2 = $3 = $4 = $5 = ""; print }' maps | sed 's/^ *//' | sort -u | grep '\.so' | grep -vF "$tree/" | grep -vF "$(dirname "$torch_root")/" |
      grep -vE '/(lib(c|m|dl|rt|pthread|util|resolv|nss_.*|stdc\+\+|gcc_s|cuda.*|nvidia.*)|ld-linux.*)\.so[.0-9]*$' || true)
    [ -z "$foreign" ] || failed "loaded from the system: $foreign"
  done
else
  failed "found ${#ranks[@]} ranks with a shared window in /dev/shm, expected 2: $(tail -n 5 long)"
fi
kill -USR1 "$training" 2>/dev/null || true
status=0
wait "$training" || status=$?
[ "$status" = 75 ] || { tail -n 5 long; failed "the training that was stopped ended with $status, expected 75"; }

# What it can test on this machine: without a GPU the GPU tests are skipped.
status=0
user "$tree/tests/check" > out 2>&1 || status=$?
grep -qE '^[0-9]+ passed, 0 failed, 0 not covered' out || failed "not every reference case holds: $(grep -m 3 -E 'failed|dissent' out)"
if [ -e "$tree/tests/comm_gpu_test" ]; then
  if [ "$status" = 77 ]; then says "skipped: no CUDA device"; fi
  [ "$status" = 0 ] || [ "$status" = 77 ] || { tail -n 20 out; failed "tests/check ended with $status"; }
else
  [ "$status" = 0 ] || failed "tests/check ended with $status"
fi
well bash -c '. "$1/env.sh" && exec "$1/bench/bench_neighbours" --help' - "$tree"

# LibTorch: a folder in place of a python; none, and another version, are refused.
well env DISSENT_TORCH="$torch_root" "$dissent" verify "$tree/tests/reference/sed_member.h5"
mkdir -p other/torch
printf '__version__ = "2.0.1+cu118"\n' > other/torch/version.py
touch other/torch/__init__.py
refused 2 "expected torch 2" env DISSENT_TORCH=python3 PYTHONPATH="$PWD/other" "$dissent" --version
says "found 2.0.1 in python3"
printf '#!/bin/sh\nexec python3 -I -S "$@"\n' > bare
chmod +x bare
refused 2 "bare has no torch; expected torch 2" env DISSENT_TORCH="$PWD/bare" "$dissent" --version
refused 2 "/lib/libtorch_cpu.so, found no such file" env DISSENT_TORCH="$PWD/other" "$dissent" --version

# Libraries of a module, which come first in LD_LIBRARY_PATH, do not come before the bundle's.
mkdir module
for library in libmpi.so.40 libopen-pal.so.40 libopen-rte.so.40 libhdf5_openmpi.so.103 libevent_core-2.1.so.7 libpmix.so.2 libfmt.so.9; do
  [ -e "$tree/lib/$library" ] || failed "$library is not in the bundle: the name is another one"
  : > "module/$library"
done
well env LD_LIBRARY_PATH="$PWD/module" "$mpirun" -n 2 "$dissent" verify "$tree/tests/reference/sed_member.h5"

# A C library without what came with glibc 2.36: a copy in which that version has another name and another hash.
older=$(grep -c '"glibc": "2.3[45]"' "$tree/share/dissent/bundle.json" || true)
if [ "$older" = 0 ] && [[ $(ldd --version) == *" 2.36"* ]]; then failed "on glibc 2.36 it needs $(grep '"glibc"' "$tree/share/dissent/bundle.json"), expected an older one"; fi
if [ "$older" != 0 ]; then
  mkdir older
  python3 - "$(ldd "$(command -v bash)" | sed -n 's/.*libc\.so\.6 => \([^ ]*\).*/\1/p')" older/libc.so.6 <<'PYTHON'
import struct, sys

def hash_of(name):
    value = 0
    for letter in name:
        value = (value << 4) + letter
        value = (value ^ (value & 0xF0000000) >> 24) & 0x0FFFFFFF
    return struct.pack("<I", value)

data, old, new = open(sys.argv[1], "rb").read(), b"GLIBC_2.36", b"GLIBC_9.36"
assert data.count(old + b"\0") == 1 and data.count(hash_of(old)) == 1
open(sys.argv[2], "wb").write(data.replace(old, new).replace(hash_of(old), hash_of(new)))
PYTHON
  well env LD_LIBRARY_PATH="$PWD/older:$tree/lib/compiler" LD_TRACE_LOADED_OBJECTS=1 "$tree/program/dissent"  # that libstdc++ insists on it
  says "version \`GLIBC_2.36' not found"
  # Of the system, libstdc++ and bash ask for it too; the launcher does not.
  well bash -c '. "$1/env.sh" && export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 LD_LIBRARY_PATH=$PWD/older:$LD_LIBRARY_PATH &&
    exec -a mpirun "$1/program/orterun" --oversubscribe -n 2 /usr/bin/env' - "$tree"
  says "LD_LIBRARY_PATH=$PWD/older"
  if grep -q 'GLIBC_' out; then failed "it needs glibc 2.36: $(grep -m 1 GLIBC_ out)"; fi
fi

# Where the system's libstdc++ does not do, the bundle's is used.
well bash -c '. "$1/env.sh" && echo "path $LD_LIBRARY_PATH"' - "$tree"
if grep -qF lib/compiler out; then failed "the compiler's libraries of the bundle are used, though the system has them"; fi
mount --bind empty "$(readlink -f "$(ldconfig -p | sed -n 's/.*libstdc++\.so\.6 .*=> //p' | head -n 1)")"
well bash -c '. "$1/env.sh" && echo "path $LD_LIBRARY_PATH"' - "$tree"
says "$tree/lib/compiler"
well "$mpirun" -n 2 "$dissent" verify "$tree/tests/reference/sed_member.h5"

[ "$failures" = 0 ] && echo "the bundle works where nothing of what it carries is installed"
exit "$((failures > 0))"
