# Data and sheets of the tests of jobs; sourced after lib.sh.
# shellcheck shell=bash

# A cache of 600 rows of drawn features, 10 classes.
small_cache() {
  cat > cache.toml <<'TOML'
[cache]
output = "train.cache"
[trunk]
model = "none"
[data]
dataset = "synthetic"
rows = 600
dim = 32
classes = 10
TOML
}

jobs_data() {
  small_cache
  cat > train.toml <<'TOML'
experiment = "six"
[data]
train = "train.cache"
batch_size = 8
[ensemble]
members = 4
model = "mlp"
hidden = 64
[loss.cross_entropy]
[training]
epochs = 3
[checkpoint]
every_minutes = 0.01
TOML
  cat > evaluate.toml <<'TOML'
[evaluate]
experiment = "six"
runs = ["results/six/seed-1", "results/six/seed-2", "results/six/seed-3", "results/six/seed-4", "results/six/seed-5", "results/six/seed-6"]
id = "test.cache"
[[evaluate.sets]]
name = "other"
paths = ["train.cache"]
TOML
}

# sheet FILE: two caches, six trainings (one of them on two ranks), and an evaluation of them all.
sheet() {
  cat > "$1" <<'CSV'
name,verb,config,ranks,after,set:seeds,set:training.epochs,set:cache.output
cache-train,cache,cache.toml,1,,,,train.cache
a,train,train.toml,1,cache-train,[1],3,
b,train,train.toml,2,cache-train,[2],3,
c,train,train.toml,1,cache-train,[3],3,
d,train,train.toml,1,cache-train,[4],3,
e,train,train.toml,1,cache-train,[5],3,
f,train,train.toml,1,cache-train,[6],3,
cache-test,cache,cache.toml,1,,,,test.cache
table,evaluate,evaluate.toml,1,a b c d e f cache-test,,,
CSV
}

# sheet_more FILE: trainings that are long enough to be disturbed, and one that fails.
sheet_more() {
  cat > "$1" <<'CSV'
name,verb,config,set:experiment,set:seeds,set:training.epochs,set:data.train
long1,train,train.toml,more,[11],60,
long2,train,train.toml,more,[12],20,
stop,train,train.toml,more,[13],60,
bad,train,train.toml,more,[14],1,nothere.cache
CSV
}

wait_for() {
  local end=$((SECONDS + 240))
  while [ "$SECONDS" -lt "$end" ]; do [ -e "$1" ] && return; sleep 0.05; done
  failed "$1 did not come"
}

# expect_one_start_each STATE: every job began once.
expect_one_start_each() {
  local folder
  for folder in "$1"/*-*/; do
    [ "$(find "$folder" -name 'start.*' | wc -l)" = 1 ] || failed "$folder: $(ls "$folder")"
  done
}

# expect_same_table FILE FILE: the same values, whatever the names of the folders.
expect_same_table() { diff <(cut -d, -f4- "$1") <(cut -d, -f4- "$2") > diff.txt || failed "the tables differ: $(head -n 5 diff.txt)"; }

# free_port FIRST: three ports in a row that nobody listens on: another test like this one may run on this host.
free_port() {
  local port taken offset
  for port in $(seq $(($1 + 4 * ($$ % 400))) 4 20000); do
    taken=0
    for offset in 0 1 2; do (: < "/dev/tcp/127.0.0.1/$((port + offset))") 2> /dev/null && taken=1; done
    [ "$taken" = 0 ] && { echo "$port"; return; }
  done
}

# slurm_here PORT: a Slurm of two nodes for this test, which ends with it. Not root: the test is skipped; no Slurm: it fails.
slurm_here() {
  local code=0
  sandbox=$work/slurm
  "$source_dir/scripts/slurm_sandbox" start "$sandbox" "${DISSENT_SLURM_PORT:-$(free_port "$1")}" 2> sandbox.txt || code=$?
  if [ "$code" = 77 ]; then sed 's/^slurm_sandbox: /skipped: /' sandbox.txt; exit 77; fi
  if [ "$code" != 0 ]; then cat sandbox.txt; exit 1; fi
  trap '"$source_dir/scripts/slurm_sandbox" stop "$sandbox"; cd /; rm -rf "$work"' EXIT
  # shellcheck disable=SC1091
  . "$sandbox/environment"
  sed 's/^MPIRUN_OPTIONS=.*/MPIRUN_OPTIONS=(--oversubscribe --bind-to none)/' "$source_dir/slurm/site.sh" > site.sh
  export DISSENT_SITE=$work/site.sh
}

# until_done SHEET: waits until no row is under way, at most five minutes; leaves the last status in out.
until_done() {
  local end=$((SECONDS + 300))
  while [ "$SECONDS" -lt "$end" ]; do
    run_program 1 jobs status "$1"
    grep -qE ' (submitting|pending|running|preempted) ' out || return 0
    sleep 0.5
  done
  failed "rows of $1 are still under way: $(squeue --noheader --array --states=all)"
}
