#!/usr/bin/env bash
# start_test.sh PROGRAM: how the program starts. What computes nothing loads no LibTorch, MPI or HDF5 and takes milliseconds; it says what dissent-compute says;
# MPI is started where a launcher is, or with --mpi; a signal that asks to stop is heard from the first moment.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
compute=$(dirname "$program")/dissent-compute

# Libraries of dissent itself.
command="readelf -d dissent"
readelf -d "$program" > libraries
for library in torch c10 mpi hdf5 curl gomp cuda; do
  ! grep NEEDED libraries | grep -qi "$library" || failed "dissent loads $library"
done

# cheap ARGS...: it ends with 0 and takes less than 50 ms of processor time, the best of three (a first call reads files).
cheap() {
  local best=1000 ms _
  for _ in 1 2 3; do
    run_timed "$@"
    ms=$(awk '{ printf "%d", ($1 + $2) * 1000 }' times)
    [ "$ms" -lt "$best" ] && best=$ms
  done
  [ "$best" -lt 50 ] || failed "$best ms of processor time"
}
run_timed() {
  command="dissent $*"
  status=0
  TIMEFORMAT='%U %S'
  { time "$program" "$@" > out 2> err; } 2> times || status=$?
  expect_exit 0
}
cheap --help
cheap --version
for verb in train plan cache evaluate config inspect imglist verify export doctor tables plot jobs replay; do
  cheap "$verb" --help
  expect_text "usage: dissent $verb"
done
cheap config train
cheap config losses
cheap tables layouts
ln -s "$source_dir/jobs" "$source_dir/configs" .
cheap jobs status jobs/sed_training.csv

# The state of 8,000 rows takes less than two seconds of it (0.6 on the machine that this was written on).
printf '[data]\ntrain = "train.cache"\n[ensemble]\nmembers = 4\n[loss.cross_entropy]\n[loss.a2d]\nweight = 0.5\n' > one.toml
printf 'name,verb,config,set:seeds,set:loss.a2d.weight,set:experiment\nt,train,one.toml,[{1..200}],0.{1..40},w{set:loss.a2d.weight}\n' > many.csv
run_timed jobs status many.csv
expect_text "8000 jobs: 8000 waiting"
ms=$(awk '{ printf "%d", ($1 + $2) * 1000 }' times)
[ "$ms" -lt 2000 ] || failed "$ms ms of processor time"

# Both programs say the same: pages, sheets, errors of usage.
same() {
  command="dissent $*"
  "$program" "$@" > one.out 2> one.err && status=0 || status=$?
  local other=0
  "$compute" "$@" > two.out 2> two.err || other=$?
  [ "$status" = "$other" ] || failed "exit codes $status and $other"
  expect_same one.out two.out
  expect_same one.err two.err
}
for name in train train-images cache evaluate; do same config "$name"; same config "$name" --markdown; done
for name in losses scores metrics nothing; do same config "$name"; done
for sheet in jobs/*.csv; do same jobs status "$sheet"; done
printf 'verb,config,set:ensemble.active\ntrain,contrary.toml,5\n' > contrary.csv
printf '[data]\ntrain = "x.cache"\n[ensemble]\nmembers = 2\n[loss.cross_entropy]\n' > contrary.toml
same jobs status contrary.csv
refused 1 2 "ensemble.active" -- jobs run contrary.csv
same --help
same --version
same trian
same train --forse
same tables
same plot curve x --output a.png

# Several ranks: one speaks.
well 3 config train
[ "$(grep -c '^experiment = ' out)" = 1 ] || failed "$(grep -c '^experiment = ' out) ranks print the page"
refused 3 2 "found 'trian'" -- trian

"$source_dir/scripts/mpirun" 3 "$compute" config train > out 2> err
[ "$(grep -c '^experiment = ' out)" = 1 ] || failed "dissent-compute: $(grep -c '^experiment = ' out) ranks print the page"
command="dissent trian, the first rank later than the others"
"$source_dir/scripts/mpirun" 1 sh -c 'sleep 0.5; exec "$0" trian' "$program" : -n 2 "$program" trian > out 2> err && status=0 || status=$?
expect_exit 2
expect_one_error_line "found 'trian'"
# Tasks of a step without PMI do not know of each other: each does what it is told.
(export SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1; well 1 config train; expect_text "experiment = "; exit "$((failures > 0))") || failures=$((failures + 1))

# Half of an installation.
mkdir alone
cp "$program" alone/dissent
command="dissent without dissent-compute"
status=0; alone/dissent doctor > out 2> err || status=$?
expect_exit 2
expect_one_error_line "dissent-compute: expected " "$work/alone/dissent-compute" "$work/libexec/dissent/dissent-compute"
status=0; alone/dissent --help > out 2> err || status=$?
expect_exit 0

# One process by itself runs without MPI, or with it.
image_set images 100 10
cache 1 train images
expect_exit 0
printf 'experiment = "start"\n[data]\ntrain = "train.cache"\nbatch_size = 20\n[ensemble]\nmembers = 2\nhidden = 16\n[loss.cross_entropy]\n[training]\nepochs = 2\n' > train.toml
well 1 doctor
expect_text "not started by a launcher, so MPI is not initialised"
well 1 --mpi doctor
expect_text "thread level"
well 1 train train.toml --quiet --set 'output="one"'
well 1 --mpi train train.toml --quiet --set 'output="mpi"'
expect_same one/start/seed-42/checkpoint.h5 mpi/start/seed-42/checkpoint.h5
for words in "train train.toml" "plan train.toml" "cache cache.toml" "evaluate evaluate.toml" "inspect train.cache" "verify x.h5" "export one" "doctor" "jobs pack list 1"; do
  # shellcheck disable=SC2086
  (export SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0; refused 1 4 "SLURM_STEP_NUM_TASKS: expected PMIX_RANK, PMIX_NAMESPACE or PMI_FD with 2 tasks, found none of them" "srun --mpi=pmix" -- $words; exit "$((failures > 0))") || failures=$((failures + 1))
done

# at_once SIGNAL PID: sends it as soon as the process is dissent and holds or catches USR1, which it does from its first line on; LibTorch is being loaded then.
at_once() {
  local mask
  for _ in $(seq 3000); do
    if [[ $(readlink "/proc/$2/exe") == */dissent* ]]; then
      for mask in $(sed -n 's/^Sig\(Blk\|Cgt\):\t//p' "/proc/$2/status"); do
        if (((16#$mask & 16#200) != 0)); then break 2; fi
      done
    fi
    kill -0 "$2" 2> /dev/null || break
  done
  kill -s "$1" "$2"
}
# Asked to stop while LibTorch is being loaded: a checkpoint, exit code 75, and the run goes on to the bytes of one that was not stopped.
for signal in USR1 TERM INT; do
  command="dissent train, stopped by $signal at once"
  mpi=()
  [ "$signal" = TERM ] && mpi=(--mpi)
  env --default-signal=INT "$program" "${mpi[@]}" train train.toml --quiet --set "output=\"stopped-$signal\"" > out 2> err &
  at_once "$signal" $!
  status=0; wait $! || status=$?
  expect_exit 75
  well 1 train train.toml --quiet --set "output=\"stopped-$signal\""
  expect_same one/start/seed-42/checkpoint.h5 "stopped-$signal/start/seed-42/checkpoint.h5"
done

# The other verbs that compute for long, in the same way.
printf '[evaluate]\nruns = ["one/start/seed-42"]\nid = "train.cache"\nscores = ["pds"]\n' > evaluate.toml
well 1 evaluate evaluate.toml --quiet --set 'evaluate.output="whole"'
for words in "cache cache.toml --set cache.output=stopped.cache --set data.root=images" "evaluate evaluate.toml --set evaluate.output=stopped"; do
  for signal in USR1 TERM INT; do
    command="dissent $words, stopped by $signal at once"
    # shellcheck disable=SC2086
    env --default-signal=INT "$program" $words --quiet > out 2> err &
    at_once "$signal" $!
    status=0; wait $! || status=$?
    expect_exit 75
    expect_text "dissent: stopped by a signal"
    expect_no_file stopped.cache/manifest.toml stopped/*.csv
  done
done
well 1 cache cache.toml --quiet --set cache.output=stopped.cache --set data.root=images
diff -r -x manifest.toml train.cache stopped.cache > diff.txt || failed "the caches differ: $(cat diff.txt)"
well 1 evaluate evaluate.toml --quiet --set 'evaluate.output="stopped"'
expect_same "$(ls whole/*.csv)" "$(ls stopped/*.csv)"
finish
