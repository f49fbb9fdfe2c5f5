#!/usr/bin/env bash
# card_test.sh PROGRAM: a paper's way on a cluster, by one `dissent jobs submit` of one sheet: caches, trainings (one on both nodes), their evaluation, the table. The cluster is a Slurm of
# two nodes that the test starts on this host (scripts/slurm_sandbox): without Slurm the test fails, without root it is skipped. The same sheet by `dissent jobs run` ends at the same table.
set -euo pipefail
. "$(dirname "$0")/../../e2e/lib.sh"
. "$source_dir/tests/e2e/jobs_lib.sh"
export OMPI_MCA_btl=self,tcp OMPI_MCA_mpi_yield_when_idle=1 # two nodes on one host, whose cores others use too
unset DISSENT_HOME DISSENT_PROGRAM SLURM_CONF

slurm_here 17829

cat > train.toml <<'TOML'
experiment = "card"
[data]
train = "train.cache"
validation = "test.cache"
batch_size = 16
[ensemble]
members = 4
model = "mlp"
hidden = 32
[loss.cross_entropy]
[loss.a2d]
weight = 0.1
[training]
epochs = 2
TOML
cat > cache.toml <<'TOML'
[cache]
output = "train.cache"
[trunk]
model = "none"
[data]
dataset = "synthetic"
rows = 400
dim = 16
classes = 10
TOML
cat > evaluate.toml <<'TOML'
[evaluate]
experiment = "card"
runs = ["results/card/seed-*"]
id = "test.cache"
id_name = "in"
validation = "train.cache"
predictors = ["ensemble", "best"]
scores = ["msp"]
output = "results/rows"
[[evaluate.sets]]
name = "out"
paths = ["out.cache"]
TOML
cat > card.csv <<'CSV'
name,verb,config,part,ranks,after,template,slurm:nodes,set:cache.output,set:data.split,set:data.seed,set:seeds,arguments
cache-{part},cache,cache.toml,train,1,,,,train.cache,train,1,,
cache-{part},cache,cache.toml,test,1,,,,test.cache,test,1,,
cache-{part},cache,cache.toml,out,1,,,,out.cache,test,2,,
train-1,train,train.toml,,1,cache-train cache-test,,,,,,[1],
train-2,train,train.toml,,2,cache-train cache-test,nodes_mpirun,2,,,,[2],
evaluate,evaluate,evaluate.toml,,1,train-* cache-out,,,,,,,
table,tables,,,1,evaluate,,,,,,,"[""--rows"", ""experiment,predictor"", ""--columns"", ""dataset,metric"", ""--output"", ""results/table.md"", ""results/rows""]"
CSV

# A row that cannot be run keeps all others back: nothing reaches Slurm.
sed 's/^id = .*/id = "tset.cache"/' evaluate.toml > wrong.toml
sed 's/evaluate,evaluate.toml/evaluate,wrong.toml/' card.csv > wrong.csv
refused 1 3 "wrong.csv:7: evaluate: wrong.toml:4:6: evaluate.id: tset.cache does not exist" -- jobs submit wrong.csv
expect_no_file results
[ -z "$(squeue --noheader)" ] || failed "a job was submitted: $(squeue)"

run_program 1 jobs submit card.csv
expect_exit 0
expect_text "cache-train: submitted, slurm" "train-2: submitted, slurm" "evaluate: submitted, slurm" "table: submitted, slurm"
until_done card.csv
expect_text "7 jobs: 7 done"
expect_file results/table.md
grep -q '"hosts"' results/card/seed-2/provenance.json && grep -q '"ranks": *2' results/card/seed-2/provenance.json || failed "seed-2 was not trained by two ranks"
grep -q '^| *card *| *best' results/table.md || failed "the table has no row of the best member: $(cat results/table.md)"
# A row once more: its old run stays until the new one takes its place.
before=$(stat -c %i results/card/seed-1/checkpoint.h5)
run_program 1 jobs again card.csv --where name=train-1 --slurm
expect_exit 0
expect_text "train-1: submitted, slurm" "evaluate: computed from the old result of a row that is run again"
expect_file results/card/seed-1/checkpoint.h5
until_done card.csv
expect_text "7 jobs: 7 done"
[ "$(stat -c %i results/card/seed-1/checkpoint.h5)" != "$before" ] || failed "train-1 was not run anew"
expect_no_file results/card/.again
[ -z "$(squeue --noheader)" ] || failed "jobs are left: $(squeue)"

# The same sheet without a cluster.
mv results there
rm -r ./*.cache
run_program 1 jobs run card.csv --cores 2
expect_exit 0
expect_same there/table.md results/table.md
for seed in 1 2; do expect_same there/card/seed-$seed/checkpoint.h5 results/card/seed-$seed/checkpoint.h5; done
finish
