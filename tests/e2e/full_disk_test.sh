#!/usr/bin/env bash
# full_disk_test.sh PROGRAM: a disk that is full when a checkpoint is to be written. A clear error and exit code 3, the checkpoint before it whole; when
# there is space again the run goes on from it to the bytes of one that never met a full disk. The disk is a small tmpfs in a mount namespace of this test.
set -euo pipefail
if [ "${2:-}" != inside ]; then
  for namespace in "-m" "-rm"; do # as root, or in a user namespace where those are permitted
    if unshare "$namespace" bash -c 'folder=$(mktemp -d); mount -t tmpfs -o size=1m tmpfs "$folder"; code=$?; umount "$folder"; rmdir "$folder"; exit $code' 2>/dev/null; then
      exec unshare "$namespace" "$0" "$1" inside
    fi
  done
  echo "skipped: missing privilege: to mount a tmpfs, as root (unshare -m) or in a user namespace (unshare -rm)"
  exit 77
fi
. "$(dirname "$0")/lib.sh"
trap 'cd /; umount "$work/small" 2>/dev/null; rm -rf "$work"' EXIT
export TMPDIR=$work # of Open MPI: the root of a user namespace may not write where the real one did

image_set images 300 28
cache 1 train images
cat > train.toml <<'TOML'
experiment = "full"
seeds = [7]
[data]
train = "train.cache"
batch_size = 10
[ensemble]
members = 4
model = "mlp"
hidden = 256
[loss.cross_entropy]
[training]
epochs = 40
TOML
well 2 train train.toml --quiet

# A checkpoint takes 10 MiB, and two have to fit while one replaces the other.
mkdir small
mount -t tmpfs -o size=24m tmpfs small
run=small/full/seed-7
free_kib() { df --output=avail -k small | tail -n 1 | tr -d ' '; }
# fill KIB: leaves so much.
fill() { rm -f small/filler; head -c "$((($(free_kib) - $1) * 1024))" /dev/zero > small/filler; }

for ranks in 1 3; do
  rm -rf small/full small/filler
  "$source_dir/scripts/mpirun" "$ranks" "$program" train train.toml --quiet --set output=small > out 2> err &
  job=$!
  for _ in $(seq 500); do sleep 0.02; [ ! -s $run/heartbeat.0 ] || break; done
  kill -USR1 "$job" || true
  status=0
  wait "$job" || status=$?
  command="train on $ranks ranks, stopped by USR1"
  expect_exit 75
  cp $run/checkpoint.h5 before.h5

  # Room for everything but the checkpoint: it is met by the run's next one.
  fill 4096
  refused "$ranks" 3 "$run/checkpoint.h5.tmp: cannot reserve" "on the disk: No space left on device" -- train train.toml --quiet --set output=small --set checkpoint.every_minutes=0
  expect_same before.h5 $run/checkpoint.h5
  expect_no_file $run/checkpoint.h5.tmp
  # No room at all: before the first step.
  fill 0
  refused "$ranks" 3 "small/full/seed-7/" "No space left on device" -- train train.toml --quiet --set output=small
  expect_same before.h5 $run/checkpoint.h5
  left=$(find small -name '*.tmp')
  [ -z "$left" ] || failed "left behind: $left"
  well 1 inspect $run/checkpoint.h5

  rm small/filler
  well "$((4 - ranks))" train train.toml --quiet --set output=small
  expect_text "event=resume"
  for file in checkpoint.h5 train.csv; do expect_same results/full/seed-7/$file $run/$file; done
done
finish
