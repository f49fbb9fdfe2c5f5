# Helpers of the end-to-end tests: sourced with the program as first argument. Each test works in a temporary folder of its own, `work`,
# into which it changes; it is removed at the end. The data are the first images of tests/data/mnist, so that a run takes a second.
# shellcheck shell=bash
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
program=$(realpath "${1:?usage: $0 PROGRAM}")
work=$(mktemp -d)
trap 'cd /; rm -rf "$work"' EXIT
cd "$work"
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# One node: Open MPI need not look for networks, which takes most of its start.
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=^openib,ofi,usnic,tcp
# Nothing of a test goes to Weights & Biases because the user who runs it has a key.
unset WANDB_API_KEY WANDB_MODE DISSENT_WANDB DISSENT_TENSORBOARD
failures=0
status=0

failed() {
  printf 'FAILED: %s\n  command: %s\n' "$*" "${command:-}"
  { sed 's/^/  stdout: /' out 2>/dev/null | head -n 15; } || true
  { grep -v '^20[0-9][0-9]-.* level=info' err 2>/dev/null | sed 's/^/  stderr: /' | head -n 25; } || true
  failures=$((failures + 1))
}

# run_program RANKS ARGS...: leaves `status`, and the files out and err. One rank is started without mpirun.
run_program() {
  local ranks=$1
  shift
  command="dissent $* (on $ranks ranks)"
  status=0
  if [ "$ranks" = 1 ]; then
    "$program" "$@" >out 2>err || status=$?
  else
    "$source_dir/scripts/mpirun" "$ranks" "$program" "$@" >out 2>err || status=$?
  fi
}

# well RANKS ARGS...: the program ends with 0.
well() { run_program "$@"; expect_exit 0; }

expect_exit() { [ "$status" = "$1" ] || failed "exit code $status, expected $1"; }

# expect_text TEXT...: each is there, in stdout or stderr.
expect_text() {
  local text
  for text in "$@"; do grep -qF -- "$text" out err || failed "nothing says: $text"; done
}

# expect_one_error_line TEXT...: one line is the program's error, from one rank alone, and holds the texts.
expect_one_error_line() {
  local count text
  count=$(grep -c '^dissent: ' err) || true
  [ "$count" = 1 ] || failed "$count error lines, expected 1"
  for text in "$@"; do grep '^dissent: ' err | grep -qF -- "$text" || failed "the error line does not say: $text"; done
}

# refused RANKS CODE TEXT... -- ARGS...: the program ends with the code and one error line that holds the texts.
refused() {
  local ranks=$1 code=$2 texts=()
  shift 2
  while [ "$1" != -- ]; do texts+=("$1"); shift; done
  shift
  run_program "$ranks" "$@"
  expect_exit "$code"
  expect_one_error_line "${texts[@]}"
}

expect_file() { local path; for path in "$@"; do [ -e "$path" ] || failed "$path is not there"; done; }
expect_no_file() { local path; for path in "$@"; do [ ! -e "$path" ] || failed "$path is there"; done; }
expect_same() { cmp -s "$1" "$2" || failed "$1 and $2 differ"; }
expect_other() { ! cmp -s "$1" "$2" || failed "$1 and $2 are the same"; }

# expect_nothing_half_written FOLDER...: no checkpoint and no temporary file.
expect_nothing_half_written() {
  local found
  found=$(find "$@" -name '*.tmp' -o -name checkpoint.h5 2>/dev/null) || true
  [ -z "$found" ] || failed "left behind: $found"
}

# big_endian NUMBER: its four bytes.
big_endian() { printf "\\x$(printf %02x $(($1 >> 24 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 & 255)))"; }

# image_set FOLDER ROWS SIDE [SKIP]: an IDX set of SIDE x SIDE images cut from MNIST's bytes, with MNIST's labels from number SKIP on.
image_set() {
  local skip=${4:-0} images=$source_dir/tests/data/mnist/t10k-images-idx3-ubyte.gz labels=$source_dir/tests/data/mnist/t10k-labels-idx1-ubyte.gz
  mkdir -p "$1"
  gzip -dc "$images" > bytes
  { printf '\0\0\10\3'; big_endian "$2"; big_endian "$3"; big_endian "$3"; head -c $((16 + skip * 784 + $2 * $3 * $3)) bytes | tail -c $(($2 * $3 * $3)); } > "$1/t10k-images-idx3-ubyte.gz"
  gzip -dc "$labels" > bytes
  { printf '\0\0\10\1'; big_endian "$2"; head -c $((8 + skip + $2)) bytes | tail -c "$2"; } > "$1/t10k-labels-idx1-ubyte.gz"
  rm bytes
}

# cache RANKS NAME IMAGES [SETTINGS...]: NAME.cache of an image set.
cache() {
  local ranks=$1 name=$2 images=$3 setting settings=()
  shift 3
  [ -f cache.toml ] || printf '[data]\ndataset = "mnist"\nsplit = "test"\n' > cache.toml
  for setting in "$@"; do settings+=(--set "$setting"); done
  run_program "$ranks" cache cache.toml --quiet --set "cache.output=$name.cache" --set "data.root=$images" "${settings[@]}"
}

# first_difference FILE FILE: offset of the first byte that differs.
first_difference() { echo $(($(cmp "$1" "$2" | sed 's/.*byte \([0-9]*\),.*/\1/') - 1)); }

# unseal FILE: takes the seal from one of our HDF5 files (docs/formats.md), so that it passes as one of another program, without checksums.
unseal() {
  local bytes
  bytes=$(stat -c %s "$1")
  truncate -s "$(od -An -tu8 -j $((bytes - 40)) -N 8 "$1" | tr -d ' ')" "$1"
  damage "$1" "$(grep -abo -m 1 dissent- "$1" | head -n 1 | cut -d: -f1)" another
}

# damage FILE OFFSET BYTES: overwrites bytes (printf escapes) in place.
# shellcheck disable=SC2059
damage() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# in_training RANKS PATTERN ARGS...: starts `train ARGS` in the background and waits until every rank beats. Leaves `job`, and `ranks`: the processes
# whose command line fits the pattern, by rank.
in_training() {
  local count=$1 pattern=$2
  shift 2
  rm -rf results
  setsid "$source_dir/scripts/mpirun" "$count" "$program" train "$@" --quiet > out 2> err &
  job=$!
  for _ in $(seq 200); do
    sleep 0.05
    [ "$(find results -name 'heartbeat.*' -size +0 2>/dev/null | wc -l)" != "$count" ] || break
  done
  mapfile -t ranks < <(pgrep -f "$pattern" | sort -n)
  [ "${#ranks[@]}" = "$count" ] || failed "${#ranks[@]} processes train, expected $count"
}

# ended SECONDS PATTERN: waits for the job of in_training, at most so long; no process that fits the pattern is left.
ended() {
  local waited=0
  while kill -0 "$job" 2>/dev/null && [ "$waited" -lt "$(($1 * 10))" ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
  kill -0 "$job" 2>/dev/null && failed "still running after $1 s" && kill -9 "$job"
  status=0
  wait "$job" || status=$?
  sleep 0.5
  ! pgrep -f "$2" > /dev/null || failed "processes are left"
  expect_nothing_half_written results
}

# blamed: the ranks that the error of a message that did not come names, by their last heartbeats.
blamed() {
  grep -m1 "did not end within" err | grep -oE "rank [0-9]+ on [^ ]*: epoch [0-9]+, step [0-9]+, last heartbeat" | cut -d: -f1 | cut -d' ' -f2 | paste -s -d' '
}

# finish: the verdict, last line of a test.
finish() {
  [ "$failures" = 0 ] && echo "every expectation held"
  exit "$((failures > 0))"
}
