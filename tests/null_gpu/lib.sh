# Helpers of the tests on the null GPU: sourced with the program and the folder of the null GPU's libraries as arguments, after ../e2e/lib.sh.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"
export NULL_GPU=${2:?usage: $0 PROGRAM NULL_GPU_FOLDER}
null_gpu_dir=$source_dir/tests/null_gpu
# Every rank runs in the wrapper, mpirun itself does not.
cat > on_null_gpu <<SCRIPT
#!/usr/bin/env bash
# HOST_PER_RANK: as if each rank had a host of its own, to NCCL.
[ -z "\${HOST_PER_RANK:-}" ] || export NCCL_HOSTID=\$OMPI_COMM_WORLD_RANK
exec "$null_gpu_dir/run" "$program" "\$@"
SCRIPT
chmod +x on_null_gpu
program=$work/on_null_gpu
mkdir report
export NULL_GPU_REPORT=$work/report NULL_GPU_DEVICES=2

# counted NAME: the largest of a count over the ranks of the last run; 0 where none has used the device.
counted() {
  [ -n "$(find report -name '*.csv')" ] || { echo 0; return; }
  awk -F, -v name="$1" 'FNR == 1 { for (i = 1; i <= NF; ++i) if ($i == name) column = i } FNR == 2 && $column + 0 > largest { largest = $column + 0 } END { print largest + 0 }' report/*.csv
}

# on_gpu RANKS ARGS...: the program ends with 0 on the null GPU, without an error of CUDA, a capture that failed, a graph that would read the host's
# memory again at each replay, or a kernel on the default stream (a thread that has not the rank's own).
on_gpu() {
  rm -f report/*.csv
  well "$@"
  local name
  [ "$(find report -name '*.csv' | wc -l)" = "$1" ] || failed "$(find report -name '*.csv' | wc -l) of $1 ranks used the device"
  for name in errors failed_captures host_copies_in_graphs on_default_stream; do
    [ "$(counted $name)" = 0 ] || failed "$name: $(counted $name)"
  done
  ! grep -q event=no_graph out err || failed "a wave was not recorded: $(grep -h event=no_graph out err | head -n 1)"
}

# synthetic_cache NAME ROWS DIM: NAME.cache of 10 classes.
synthetic_cache() {
  printf '[data]\ndataset = "synthetic"\nrows = "%s"\ndim = %s\nclasses = 10\n[trunk]\nmodel = "none"\n[cache]\noutput = "%s.cache"\n' "$2" "$3" "$1" > synthetic.toml
  well 1 cache synthetic.toml --quiet
}

# stopped EXPERIMENT LINES ARGS...: a training on one rank until its log of epochs has so many more lines, then stopped by USR1.
stopped() {
  local log=results/$1/seed-42/train.csv wanted
  wanted=$(($(lines_of "$log") + $2))
  command="dissent train ${*:3}, stopped by USR1"
  "$program" train "${@:3}" --quiet --set runtime.device=cuda --set "experiment=$1" --set training.epochs=100000 > out 2> err &
  job=$!
  for _ in $(seq 400); do [ "$(lines_of "$log")" -ge "$wanted" ] && break; sleep 0.05; done
  kill -USR1 "$job"
  status=0
  wait "$job" || status=$?
  expect_exit 75
}
lines_of() { if [ -f "$1" ]; then wc -l < "$1"; else echo 0; fi; }

# budget CASE RANKS UNITS [ARGS...]: a training of 2 and one of 4 epochs of UNITS steps each. What two more epochs cost a step is at most what
# budgets.csv allows, not much less either (the table only gets smaller), and takes no more device memory.
budget() {
  local name=$1 ranks=$2 units=$3 launches synchronisations bytes graphs
  shift 3
  on_gpu "$ranks" train "$@" --quiet --set runtime.device=cuda --set "experiment=$name" --set output=two --set training.epochs=2
  bytes=$(counted allocated_bytes)
  launches=$(counted launches) synchronisations=$(counted synchronisations) graphs=$(counted graph_launches)
  on_gpu "$ranks" train "$@" --quiet --set runtime.device=cuda --set "experiment=$name" --set output=four --set training.epochs=4
  # One segment of small tensors more or less: the autograd thread frees its tensors a moment later or sooner.
  [ "$(counted allocated_bytes)" -le $((bytes + (2 << 20))) ] || failed "$name: $bytes bytes of device memory after 2 epochs, $(counted allocated_bytes) after 4"
  launches=$(($(counted launches) - launches)) synchronisations=$(($(counted synchronisations) - synchronisations))
  graphs=$(($(counted graph_launches) - graphs))
  awk -F, -v name="$name" -v steps=$((2 * units)) -v l=$launches -v s=$synchronisations -v g=$graphs '
    function check(what, found, allowed) {
      if (found > allowed + 0.05) { printf "%s: %.1f %s a step, budgets.csv allows %s\n", name, found, what, allowed; bad = 1 }
      if (found < 0.9 * allowed - 0.5) { printf "%s: %.1f %s a step, budgets.csv still allows %s: write the smaller number there\n", name, found, what, allowed; bad = 1 }
    }
    NR > 1 && $1 == name {
      known = 1
      check("launches", l / steps, $2)
      check("synchronisations", s / steps, $3)
      if (($4 == "yes") != (g > 0)) { printf "%s: %d replays of graphs, expected %s\n", name, g, ($4 == "yes") ? "some" : "none"; bad = 1 }
    }
    END {
      if (!known) printf "%s: no line in budgets.csv (found: %s,%.1f,%.1f,%s)\n", name, name, l / steps, s / steps, (g > 0) ? "yes" : "no"
      exit bad || !known
    }' "$null_gpu_dir/budgets.csv" > verdict || failed "$(cat verdict)"
  rm -rf two four
}
