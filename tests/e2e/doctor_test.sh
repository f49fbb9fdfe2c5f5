#!/usr/bin/env bash
# doctor_test.sh PROGRAM: what `dissent doctor` says alone, on several ranks, and of machines that are not as they should be. Exit codes 0 and 5.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# line VERDICT NAME TEXT: a check has this line; all but ok are followed by what to do.
line() {
  awk -v verdict="$1" -v name="$2:" -v text="$3" '
    awaited && !/^ +to do: ./ { missing = 1 }
    { awaited = $1 != "ok" && $1 != "to" && / [a-z_0-9]+: / && !/ to do: / }
    $1 == verdict && $2 == name && index($0, text) { found = 1 }
    END { exit !(found && !missing) }' <(grep -E '^(ok|warning|failed|skipped) |^ +to do: ' out) || failed "no line '$1 $2: ... $3', or one without 'to do'"
}
count() { [ "$(grep -cE '^(ok|warning|failed|skipped) ' out)" = "$1" ] || failed "$(grep -cE '^(ok|warning|failed|skipped) ' out) checks, expected $1"; }
nothing_left() { [ -z "$(find "$1" -name 'dissent-doctor.*' 2>/dev/null)" ] || failed "files are left in $1"; }

well 1 doctor --help
expect_text "usage: dissent doctor [options]" "--folder" "--config" "--json" "Exit code 5 if a check failed"
refused 1 2 "--timeout: expected a number above 0, found 0" -- doctor --timeout 0

# Alone.
well 1 doctor
count 15
line ok versions "Open MPI v"
line ok launcher "1 rank on 1 host ($(hostname))"
line skipped speed "one rank sends no messages"
line ok signals "SIGUSR1 arrives"
line ok cores "1 rank per node with 1 thread in total"
line ok folder "files are flushed and renamed"
line ok hdf5 "64.0 KiB written by 1 rank"
grep -qE '^(ok|skipped|warning) +gpu: ' out || failed "nothing is said of GPUs"
nothing_left .

# On three ranks; more threads than cores are a warning, not a failure.
well 3 doctor
count 15
line ok messages "over 3 ranks give the expected results"
line ok timeout "a barrier without the other ranks fails after"
line ok shared_memory "a window written by 3 ranks is read by all"
line ok folder "and visible to every rank"
line ok hdf5 "192.0 KiB written by 3 ranks"
OMP_NUM_THREADS=4096 run_program 1 doctor
expect_exit 0
line warning cores "OMP_NUM_THREADS exceeds the number of cores"

# For machines.
well 3 doctor --json
python3 - out <<'PYTHON' || failed "the JSON is not as expected"
import json, sys
report = json.load(open(sys.argv[1]))
verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
assert report["format"] == "dissent-doctor" and report["ranks"] == 3 and len(report["hosts"]) == 1, report
assert report["verdict"] in ("ok", "warning") and verdicts["messages"] == verdicts["hdf5"] == "ok", report
assert all(check["advice"] for check in report["checks"] if check["verdict"] != "ok"), report
PYTHON

# Processes that the launcher started but MPI does not know of: srun without PMI, the mpiexec of another MPI. A blocked signal; small limits.
for launcher in "SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0" "PMI_RANK=0 PMI_SIZE=4"; do
  # shellcheck disable=SC2086
  (export $launcher; refused 1 4 ": expected " "found " " 4 " -- doctor; exit "$((failures > 0))") || failures=$((failures + 1))
done
(export SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0; well 1 doctor; exit "$((failures > 0))") || failures=$((failures + 1))
python3 -c 'import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); os.execv(sys.argv[1], sys.argv[1:])' "$program" doctor > out 2> err && status=0 || status=$?
command="doctor with SIGUSR1 blocked"
expect_exit 5
line failed signals "SIGUSR1 is blocked"
(ulimit -n 100; run_program 1 doctor; expect_exit 0; line warning limits "open files 100"; exit "$((failures > 0))") || failures=$((failures + 1))
HDF5_USE_FILE_LOCKING=TRUE run_program 1 doctor
expect_exit 0
line ok locks "HDF5_USE_FILE_LOCKING is TRUE: HDF5 locks files"

# Folders that cannot be used: the checks that need one are skipped.
for ranks in 1 3; do
  run_program "$ranks" doctor --folder /proc
  expect_exit 5
  line failed folder "/proc/dissent-doctor."
  expect_text "(rank 0 on $(hostname))"
  line skipped hdf5 "the folder cannot be used"
  run_program "$ranks" doctor --folder nothere
  expect_exit 5
  line failed folder "nothere: no such folder"
done

# A configuration, against the number of ranks and the caches that are there.
image_set images 100 10
cache 1 train images
printf '[data]\ntrain = "train.cache"\n[ensemble]\nmembers = 3\n[loss.cross_entropy]\n' > train.toml
well 3 doctor --config train.toml
line ok config "a training on 1 x 3 x 1 ranks"
well 1 doctor --config cache.toml
line ok config 'all keys of `dissent cache` are valid'
run_program 2 doctor --config train.toml --set grid.data=1 --set grid.members=3
expect_exit 5
line failed config "2 ranks"
run_program 1 doctor --config train.toml --set data.train=nothere.cache
expect_exit 5
line failed config "nothere.cache: no such feature cache"
run_program 3 doctor --config train.toml --set ensemble.membres=2
expect_exit 5
line failed config "ensemble.membres: unknown key"

# File systems that are full, in a namespace of their own: a folder, and /dev/shm.
if unshare -m true 2>/dev/null; then
  mkdir small
  cat > in_small <<SCRIPT
#!/usr/bin/env bash
mount -t tmpfs -o size=64k tmpfs small && head -c 65536 /dev/zero > small/filler
"$program" doctor --folder small
SCRIPT
  cat > in_shm <<SCRIPT
#!/usr/bin/env bash
mount -t tmpfs -o size=64k tmpfs /dev/shm && "$program" doctor
SCRIPT
  chmod +x in_small in_shm
  command="doctor in a full folder"
  status=0; unshare -m ./in_small > out 2> err || status=$?
  expect_exit 5
  line failed folder "No space left on device"
  command="doctor with a small /dev/shm"
  status=0; unshare -m ./in_shm > out 2> err || status=$?
  expect_exit 0
  line warning shared_memory "/dev/shm has 64.0 KiB"
else
  echo "skipped: missing privilege: to mount, for full file systems"
fi
finish
