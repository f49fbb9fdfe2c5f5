#!/usr/bin/env bash
# train_test.sh PROGRAM: grids that do not fit, losses that are not finite, a full disk, a run that is there already.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

image_set images 300 28
cache 1 train images
cat > train.toml <<'TOML'
experiment = "e"
[data]
train = "train.cache"
batch_size = 50
[ensemble]
members = 3
model = "mlp"
hidden = 16
[loss.cross_entropy]
[training]
epochs = 2
TOML

# Ranks and work.
refused 3 2 "more ranks than work" "3 ranks, 1 runs, 2 members, batch size 50" "all ranks work: grid.runs = 1, grid.members = 1, grid.data = 3" -- train train.toml --set ensemble.members=2 --set grid.data=1
refused 3 2 "grid: expected runs x members x data = 3 ranks, found runs = 1, members = 2, data = 1" "all ranks work: grid.runs = 1, grid.members = 3, grid.data = 1" -- train train.toml --set grid.runs=1 --set grid.members=2
refused 3 2 "more ranks than work: grid.runs: expected at most 1 (runs), found 3" -- train train.toml --set grid.runs=3
refused 2 2 "more ranks than work: grid.data: expected at most 1 (rows of a batch), found 2" "all ranks work: grid.runs = 1, grid.members = 2, grid.data = 1" -- train train.toml --set grid.data=2 --set data.batch_size=1
refused 3 2 "2 ranks work: grid.runs = 1, grid.members = 2, grid.data = 1" -- train train.toml --set ensemble.members=2 --set data.batch_size=1
expect_no_file results

# More memory than there is: an error of its own, with numbers and what to lower.
refused 1 6 "memory of the host: expected " " more, found " " free" "data.batch_size" -- train train.toml --quiet --set ensemble.members=100000 --set ensemble.hidden=100000
rm -rf results

# A loss that is not finite: known to all ranks at once, or to the ranks of one member alone.
refused 3 3 "training (epoch 0, step 1): expected a finite loss, found" "training has diverged: loss.cross_entropy is" "member" "a smaller optimizer.learning_rate (1e+38 in this step)" -- train train.toml --quiet --set optimizer.learning_rate=1e38
failed_with() { # RANKS TEXT: the run's provenance says so
  python3 - results/e/seed-42/provenance.json "$@" <<'PYTHON' || failed "provenance.json does not say that the run failed: $2"
import json, sys
provenance = json.load(open(sys.argv[1]))
assert provenance["state"] == "failed" and provenance["ranks"] == int(sys.argv[2]) and sys.argv[3] in provenance["error"], provenance
PYTHON
}
failed_with 3 "training has diverged"
refused 1 3 "training (epoch 0, step 1): expected a finite loss, found" -- train train.toml --quiet --set optimizer.learning_rate=1e38
failed_with 1 "training (epoch 0, step 1): expected a finite loss"
refused 3 3 "training (epoch 0, step" "training has diverged" -- train train.toml --quiet --set optimizer.learning_rate=1e38 --set ensemble.active=1
failed_with 3 "training has diverged"
expect_nothing_half_written results
well 3 train train.toml --quiet --set optimizer.learning_rate=1e38 --set 'training.on_nan="skip_step"' --set experiment=skip
awk -F, 'NR > 1 { skipped += $3 } END { exit !(skipped > 0) }' results/skip/seed-42/train.csv || failed "train.csv tells of no skipped step"
! grep -q nan results/skip/seed-42/train.csv || failed "train.csv holds nan"

# A full disk, as a limit of the size of a file: room for what MPI shares, not for the checkpoint or the shard.
cat > limited <<SCRIPT
#!/usr/bin/env bash
trap '' XFSZ
ulimit -f 8192
exec "$program" "\$@"
SCRIPT
chmod +x limited
image_set many 3000 28
for ranks in 1 3; do
  (program=$PWD/limited
   refused "$ranks" 3 "full/e/seed-42/checkpoint.h5.tmp: cannot reserve" "on the disk: File too large" -- \
     train train.toml --quiet --set output=full --set ensemble.hidden=1024 --set training.epochs=1
   refused "$ranks" 3 "full.cache/shard-00000.h5.tmp: cannot reserve 9" "on the disk: File too large" -- \
     cache cache.toml --quiet --set cache.output=full.cache --set data.root=many
   [ "$failures" = 0 ]) || failures=$((failures + 1))
  expect_nothing_half_written full full.cache
  refused 1 3 "full.cache: incomplete: expected 1 shards, found 0" -- inspect full.cache
  well "$ranks" cache cache.toml --quiet --set cache.output=full.cache --set data.root=many
  rm -r full full.cache
done

# The same run again is reused, another one in its folder is refused, --force replaces it.
rm -r results
well 2 train train.toml --quiet
expect_text "event=run_finished folder=results/e/seed-42"
cp -p results/e/seed-42/checkpoint.h5 first.h5
well 2 train train.toml --quiet --set runtime.threads=1
expect_text "event=run_reused folder=results/e/seed-42"
expect_same first.h5 results/e/seed-42/checkpoint.h5
[ ! results/e/seed-42/checkpoint.h5 -nt first.h5 ] || failed "the checkpoint was written anew"
refused 2 2 "results/e/seed-42: expected no run, or one of this configuration, found one of another configuration" "optimizer.learning_rate: 0.001 in the file, 0.1 in this configuration" \
  "training.epochs: 2 in the file, 3 in this configuration" "--force to replace it" -- \
  train train.toml --quiet --set training.epochs=3 --set optimizer.learning_rate=0.1
expect_same first.h5 results/e/seed-42/checkpoint.h5
well 2 train train.toml --quiet --force --set training.epochs=3 --set optimizer.learning_rate=0.1
expect_other first.h5 results/e/seed-42/checkpoint.h5
well 1 inspect --config results/e/seed-42
expect_text "epochs = 3" "fc1.weight"

# Two runs of one name would write one folder; a name may not lead out of `output`.
refused 2 2 "seeds: expected each seed once, found seed 5 2 times" "the same run in the same folder" -- train train.toml --set 'seeds=[5,6,5]'
for name in ../e a/../../e /tmp/e; do
  refused 1 2 "experiment: expected a name of a folder in \`output\` (\"results\"), found \"$name\", which leads out of it" -- train train.toml --set "experiment=\"$name\""
done
well 1 train train.toml --quiet --set 'experiment="a/b..c"'
expect_file results/a/b..c/seed-42/checkpoint.h5
refused 1 2 "results/e/seed-42: expected one entry that matches this path, found two: \"results/e/*\" and \"results/e/seed-42\"" -- \
  evaluate "$source_dir/configs/sed/evaluation.toml" --set 'evaluate.runs=["results/e/*", "results/e/seed-42"]' --set 'evaluate.id="train.cache"' --set 'evaluate.sets=[]'

# Two trainings of one folder at once: the second is refused, by name of the first; two folders are two. What kill -9 leaves is taken over at once.
long=(train train.toml --quiet --set experiment=long --set training.epochs=2000 --set checkpoint.every_minutes=0.001)
"$program" "${long[@]}" > first.out 2> first.err &
first=$!
for _ in $(seq 400); do [ -e results/long/seed-42/checkpoint.h5 ] && break; sleep 0.05; done
refused 1 2 "results/long/seed-42: expected that no other process writes to it, found process $first on $(uname -n)" "results/long/seed-42/lock.1" \
  "wait for it, stop it, or give another \`experiment\` or \`output\`" -- "${long[@]}"
refused 2 2 "expected that no other process writes to it" -- "${long[@]}" --force
well 1 "${long[@]}" --set 'seeds=[43]' --set training.epochs=1
expect_no_file results/long/seed-43/lock.1
kill -9 "$first"
wait "$first" 2>/dev/null || true
expect_file results/long/seed-42/lock.1
"$program" "${long[@]}" > out 2> err &
second=$!
for _ in $(seq 400); do grep -q event=resume err && break; sleep 0.05; done
kill -USR1 "$second"
status=0
wait "$second" || status=$?
command="${long[*]}, after kill -9"
expect_exit 75
expect_text "the stale lock of" "is taken over" "event=resume"
expect_no_file results/long/seed-42/lock.1 results/long/seed-42/lock.2
python3 - <<'PYTHON' || failed "provenance.json does not count both starts: $(cat results/long/seed-42/provenance.json)"
import json, time, calendar
p = json.load(open("results/long/seed-42/provenance.json"))
when = lambda key: calendar.timegm(time.strptime(p[key], "%Y-%m-%dT%H:%M:%SZ"))
assert p["starts"] == 2 and p["state"] == "stopped" and when("start") <= when("last_start"), p
assert p["wall_s"] >= when("last_start") - when("start") - 30 and p["wall_s"] > 0.2, p
PYTHON
# A cache is locked in the same way. Its lock is one of this shell's here.
printf '{"host":"%s","pid":%d,"started":%d,"process_numbers":"%s","time":0}' "$(uname -n)" $$ "$(awk '{print $22}' /proc/$$/stat)" "$(readlink /proc/self/ns/pid)" > held.cache.lock.7
refused 2 2 "held.cache: expected that no other process writes to it, found process $$ on" "held.cache.lock.7" "give another cache.output" -- \
  cache cache.toml --quiet --set cache.output=held.cache --set data.root=images
rm held.cache.lock.7
well 2 cache cache.toml --quiet --set cache.output=held.cache --set data.root=images
expect_no_file held.cache.lock.1 held.cache.lock.8

finish
