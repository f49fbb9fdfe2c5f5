#!/usr/bin/env bash
# live_test.sh PROGRAM: Weights & Biases and TensorBoard while a run trains, on caches and images, several seeds and ranks, resumed, in jobs; a server
# that never answers and a client that dies cost no step; what is missing is said before the training.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/jobs_lib.sh"
python=$(cd "$source_dir" && . scripts/lib.sh && python_environment)
export DISSENT_PYTHON=$python
send_to_wandb=$source_dir/scripts/send_to_wandb
# What the user of this shell may have set.
for name in $(env | sed -n 's/^\(WANDB_[A-Z_]*\)=.*/\1/p') DISSENT_WANDB DISSENT_TENSORBOARD; do unset "$name"; done
export HOME=$work WANDB_SILENT=true PYTHONPATH=$source_dir/tests/e2e PYTHONDONTWRITEBYTECODE=1

# Companions that are left to themselves, and the server, end with the test.
server=
answering=
clean() {
  local file process
  for process in $server $answering; do kill "$process" 2>/dev/null || true; done
  { for file in $(find "$work" -name wandb.json); do
    process=$(field "$file" process) || continue
    if tr '\0' ' ' 2>/dev/null < "/proc/$process/cmdline" | grep -qF send_to_wandb; then kill -9 "$process" || true; fi
  done; } 2>/dev/null
  cd /
  sleep 0.5
  rm -rf "$work"
}
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2], ""))' "$@"; }
trap clean EXIT

small_cache
cat > train.toml <<'TOML'
experiment = "live"
seeds = [1]
[data]
train = "train.cache"
validation = "train.cache"
batch_size = 20
[ensemble]
members = 3
model = "mlp"
hidden = 32
[loss.cross_entropy]
[training]
epochs = 4
TOML
well 1 cache cache.toml --quiet

# The epochs in W&B's own file of an offline run, newest folder, against train.csv: every value.
cat > offline.py <<'PY'
import csv, json, sys
import wandb_file
run = sys.argv[1]
history, ended, start, settings = {}, None, None, {}
for record in wandb_file.records(wandb_file.files_of(run)[-1]):
    kind = record.WhichOneof("record_type")
    if kind == "run":
        start, settings = record.run, settings | wandb_file.items(record.run.config.update)
    if kind == "config":
        settings |= wandb_file.items(record.config.update)
    if kind == "history":
        history[record.history.step.num] = wandb_file.items(record.history.item)
    if kind == "exit":
        ended = record.exit.exit_code
kept = json.load(open(f"{run}/wandb.json"))
assert start.run_id == kept["id"] and start.run_group == kept["group"] and start.display_name == kept["name"], (start, kept)
rows = list(csv.DictReader(open(f"{run}/train.csv")))
assert sorted(history) == [int(row["epoch"]) for row in rows], (sorted(history), len(rows))
for row in rows:
    values = history[int(row["epoch"])]
    for key, text in row.items():
        if key == "epoch" or not text:
            continue
        name = ("validation/" if key.startswith("accuracy_") or key == "nll" else "gradients/" if key.startswith("gradient_") else "train/") + key
        assert values[name] == float(text), (row["epoch"], key, values.get(name), text)
assert settings.get("config_hash") == kept["config_hash"] and settings["ensemble"]["members"] == 3, settings
print(len(rows), "epochs, exit code", ended)
PY
# events.py RUN: steps of an event file, and each value against train.csv.
cat > events.py <<'PY'
import csv, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
rows = list(csv.DictReader(open(f"{sys.argv[1]}/train.csv")))
found = events.Scalars("train/total") if "train/total" in events.Tags()["scalars"] else []
for scalar in found:
    assert abs(float(rows[scalar.step]["total"]) - scalar.value) <= 1e-6 * abs(scalar.value), scalar
steps = [scalar.step for scalar in found]
assert steps == list(range(len(steps))), steps
print(len(steps))
PY
epochs_of() { "$python" events.py "$1" 2> events.log || { cat events.log; echo none; }; }

# Offline, on features; several seeds, one after the other and side by side.
well 1 train train.toml --quiet --wandb offline --tensorboard --set 'seeds=[1, 2]'
expect_text event=wandb_started 'event=wandb_finished folder=results/live/seed-2 state=offline'
for seed in 1 2; do
  run=results/live/seed-$seed
  "$python" offline.py $run > read 2>&1 || { command="offline.py $run"; cp read out; failed "W&B's file is not train.csv"; }
  grep -q '4 epochs, exit code 0' read || failed "W&B's file: $(cat read)"
  [ "$(epochs_of $run)" = 4 ] || failed "events of seed $seed: $(epochs_of $run) epochs, expected 4"
  [ "$(field $run/wandb.json group) $(field $run/wandb.json name)" = "live live-seed-$seed" ] || failed "group and name: $(cat $run/wandb.json)"
done
[ "$(field results/live/seed-1/wandb.json id)" != "$(field results/live/seed-2/wandb.json id)" ] || failed "two seeds are one run"
well 4 train train.toml --quiet --wandb offline --tensorboard --set experiment=side --set 'seeds=[1, 2]' --set grid.runs=2
for seed in 1 2; do
  "$python" offline.py results/side/seed-$seed > read 2>&1 || { cp read out; failed "W&B's file of side by side seed $seed"; }
  [ "$(epochs_of results/side/seed-$seed)" = 4 ] || failed "events of side by side seed $seed"
done
# Neither changes a result; without them there is nothing of theirs.
well 1 train train.toml --quiet --set experiment=plain
expect_same results/plain/seed-1/train.csv results/live/seed-1/train.csv
[ -z "$(find results/plain -name 'wandb*' -o -name 'events*')" ] || failed "something of W&B or TensorBoard: $(find results/plain)"

# Trained anew it is another run; a replay is none.
before=$(field results/live/seed-1/wandb.json id)
well 1 train train.toml --quiet --wandb offline --tensorboard --force
[ "$(field results/live/seed-1/wandb.json id)" != "$before" ] || failed "trained anew it is the same run at W&B"
[ "$(epochs_of results/live/seed-1)" = 4 ] || failed "events of a run that was trained anew: $(epochs_of results/live/seed-1)"
well 1 replay results/live/seed-1 --keep
[ -z "$(find results/live/seed-1/replay -name 'wandb*' -o -name 'events*')" ] || failed "a replay is told to W&B or TensorBoard"

# Images on three ranks; read by TensorBoard while they train; stopped and gone on with on one rank: the same run, each epoch once.
image_set images 150 28
cat > images.toml <<'TOML'
experiment = "images"
seeds = [3]
[data]
kind = "images"
dataset = "mnist"
split = "test"
root = "images"
rows = ":100"
transform = "mnist_train"
batch_size = 25
[ensemble]
members = 3
model = "lenet"
[loss.cross_entropy]
[training]
epochs = 400
[checkpoint]
every_minutes = 0.02
TOML
run=results/images/seed-3
command="dissent train images.toml (on 3 ranks, in the background)"
"$source_dir/scripts/mpirun" 3 "$program" train images.toml --quiet --wandb offline --tensorboard > out 2> err &
job=$!
seen=0
for _ in $(seq 600); do
  [ -f $run/train.csv ] && seen=$(epochs_of $run)
  if [ "$seen" != none ] && [ "$seen" -ge 3 ] && [ "$(field $run/wandb.json state)" = running ]; then break; fi
  kill -0 $job 2>/dev/null || break
  sleep 0.1
done
kill -0 $job 2>/dev/null || failed "the training ended before TensorBoard and W&B saw it"
[ "$seen" != none ] && [ "$seen" -ge 3 ] || failed "TensorBoard saw $seen epochs while it trained"
before=$(field $run/wandb.json id)
pkill -USR1 -P $job 2>/dev/null || kill -USR1 $job
status=0
wait $job || status=$?
expect_exit 75
"$python" offline.py $run > read 2>&1 || { cp read out; failed "W&B's file of a stopped run"; }
grep -q 'exit code 1' read || failed "a stopped run: $(cat read)"
done_epochs=$(($(wc -l < $run/train.csv) - 1))
printf 'torn' >> "$(find $run -name 'events*')"
well 1 train images.toml --quiet --wandb offline --tensorboard
[ "$(field $run/wandb.json id)" = "$before" ] || failed "a resumed run is another one at W&B"
[ "$(epochs_of $run)" = 400 ] || failed "events of a run that was gone on with after $done_epochs epochs: $(epochs_of $run)"
[ "$(find $run -name 'events*' | wc -l)" = 1 ] || failed "event files: $(find $run -name 'events*')"
"$python" offline.py $run > read 2>&1 || { cp read out; failed "W&B's file of a run that was gone on with"; }

# Online, as the environment says: a server has epochs while the run trains; after a stop, and another, it has each once, with the values of train.csv.
mkdir said
python3 "$source_dir/tests/e2e/wandb_server.py" said 2> said/log &
answering=$!
for _ in $(seq 100); do [ -s said/port ] && break; sleep 0.1; done
key=0123456789012345678901234567890123456789
answers=(WANDB_BASE_URL="http://127.0.0.1:$(cat said/port)" WANDB_API_KEY=$key WANDB_ENTITY=me)
# with VARIABLES... -- COMMAND...
with() { local set=(); while [ "$1" != -- ]; do set+=("$1"); shift; done; shift; for name in "${set[@]}"; do export "${name?}"; done; local code=0; "$@" || code=$?; for name in "${set[@]}"; do unset "${name%%=*}"; done; return "$code"; }
online=(train train.toml --quiet --set experiment=online --set training.epochs=1000000 --set runtime.wandb_finish_s=180)
run=results/online/seed-1
sent() { cat said/*.jsonl 2>/dev/null | wc -l; }
# until_sent EPOCHS: a run in the background, stopped once the server has so many; the client sends about every 15 s.
until_sent() {
  command="dissent ${online[*]} (in the background)"
  env "${answers[@]}" "$program" "${online[@]}" > out 2> err &
  job=$!
  for _ in $(seq 1200); do [ "$(sent)" -ge "$1" ] && break; sleep 0.1; done
  [ "$(sent)" -ge "$1" ] || failed "the server has $(sent) epochs, expected $1, while it trained"
  kill -USR1 $job
  status=0
  wait $job || status=$?
  expect_exit 75
  expect_text 'event=wandb mode=online url=http' "event=wandb_finished folder=$run state=synced"
}
until_sent 3
before=$(field $run/wandb.json id)
until_sent $(($(sent) + 3))
[ "$(field $run/wandb.json id)" = "$before" ] || failed "a resumed run is another one at W&B"
python3 - said/"$before".jsonl $run/train.csv > read 2>&1 <<'PY' || { cp read out; failed "the server has not got train.csv"; }
import csv, json, sys
steps = [json.loads(line) for line in open(sys.argv[1])]
rows = list(csv.DictReader(open(sys.argv[2])))
assert [step["_step"] for step in steps] == list(range(len(rows))), ([step["_step"] for step in steps], len(rows))
for step, row in zip(steps, rows):
    assert step["train/total"] == float(row["total"]) and step["validation/nll"] == float(row["nll"]), (step, row)
PY
kill "$answering"

# A server that takes connections and never answers.
cat > server.py <<'PY'
import socket
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    with open("port", "w") as file:
        print(listener.getsockname()[1], file=file)
    connections = []
    while True:
        connections.append(listener.accept())
        open("called", "w").close()
PY
python3 server.py &
server=$!
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
slow=(WANDB_BASE_URL="http://127.0.0.1:$(cat port)" WANDB_API_KEY=$key)
long=(--set training.epochs=100 --set runtime.wandb_finish_s=1)
well 1 train train.toml --quiet "${long[@]}" --set experiment=alone
started=$(date +%s)
with "${slow[@]}" -- well 1 train train.toml --quiet "${long[@]}" --set experiment=slow
took=$(($(date +%s) - started))
expect_text event=wandb_started 'event=wandb_left folder=results/slow/seed-1'
for _ in $(seq 200); do [ -e called ] && break; sleep 0.1; done
[ -e called ] || failed "W&B's client did not call the server"
expect_same results/slow/seed-1/train.csv results/alone/seed-1/train.csv
# Its waiting would be 90 s; a busy machine's noise is let pass.
python3 - "$took" <<'PY' || failed "a server that does not answer costs time"
import json, sys
alone, slow = (json.load(open(f"results/{name}/seed-1/provenance.json"))["wall_s"] for name in ("alone", "slow"))
print(f"100 epochs: {alone:.2f} s alone, {slow:.2f} s with a server that does not answer; with start and end {sys.argv[1]} s")
sys.exit(not (slow < 2 * alone + 3 and int(sys.argv[1]) < 2 * alone + 25))
PY
# Once it has given up it goes on offline, and says how to send it. By hand, as from a login node.
kill -9 "$(field results/slow/seed-1/wandb.json process)"
command="send_to_wandb results/slow/seed-1 --follow"
status=0
with "${slow[@]}" -- "$python" "$send_to_wandb" results/slow/seed-1 --follow --init-timeout 3 > out 2> err || status=$?
expect_exit 10
expect_text 'continuing offline'
[ "$(field results/slow/seed-1/wandb.json state) $(field results/slow/seed-1/wandb.json mode)" = "offline offline" ] || failed "$(cat results/slow/seed-1/wandb.json)"
"$python" offline.py results/slow/seed-1 > read 2>&1 || { cp read out; failed "W&B's file after the server did not answer"; }

# The client dies: one warning, the training goes on.
"$program" train train.toml --quiet --wandb offline --set training.epochs=100000 --set experiment=dies > out 2> err &
job=$!
run=results/dies/seed-1
for _ in $(seq 600); do
  grep -q 'event=wandb mode=offline' err && break
  sleep 0.1
done
kill -9 "$(field $run/wandb.json process)"
for _ in $(seq 100); do grep -q event=wandb_ended err && break; sleep 0.1; done
sleep 0.5
kill -USR1 $job
status=0
wait $job || status=$?
command="dissent train train.toml --wandb offline, whose client is killed"
expect_exit 75
[ "$(grep -c 'level=warning event=wandb' err)" = 1 ] || failed "$(grep -c 'level=warning event=wandb' err) warnings, expected 1"
expect_text "event=wandb_ended folder=$run code=137"

# What is missing is said before the training; what the environment alone asks for is no reason to refuse.
mkdir nothing
printf '#!/bin/sh\nexec python3 -S -s "$@"\n' > nothing/python
chmod +x nothing/python
export DISSENT_PYTHON=$work/nothing/python PYTHONNOUSERSITE=1
refused 2 2 'runtime.wandb = "offline"' 'it has no package wandb' 'scripts/setup --wandb' -- train train.toml --quiet --wandb offline --set experiment=missing
with WANDB_API_KEY=$key -- well 1 train train.toml --quiet --set experiment=asked
expect_text event=wandb_off 'it has no package wandb'
export DISSENT_PYTHON=$work/nothing/nowhere
refused 1 2 'nothing/nowhere' 'No such file or directory' -- train train.toml --quiet --wandb online --set experiment=missing
export DISSENT_PYTHON=$python
refused 1 2 'no key for api.wandb.ai: set WANDB_API_KEY' -- train train.toml --quiet --wandb online --set experiment=missing
refused 2 2 'runtime.wandb' "expected one of auto, off, online, offline" -- train train.toml --wandb onlin
expect_no_file results/missing
with WANDB_API_KEY=$key WANDB_MODE=disabled -- well 1 train train.toml --quiet --set experiment=disabled
with WANDB_API_KEY=$key -- well 1 train train.toml --quiet --wandb off --set experiment=disabled --force
expect_no_file results/disabled/seed-1/wandb.json
with WANDB_MODE=offline -- well 1 train train.toml --quiet --set experiment=by_mode
expect_file results/by_mode/seed-1/wandb.json

# In jobs.
printf 'verb,config,set:experiment,set:seeds\ntrain,train.toml,{one | two},[1]\n' > sheet.csv
well 1 jobs run sheet.csv --wandb offline --tensorboard
for name in one two; do
  "$python" offline.py results/$name/seed-1 > read 2>&1 || { cp read out; failed "W&B's file of job $name"; }
  [ "$(epochs_of results/$name/seed-1)" = 4 ] || failed "events of job $name"
done
refused 1 2 "--wandb: expected one of auto, off, online, offline, found 'offlin'; did you mean 'offline'?" -- jobs run sheet.csv --wandb offlin
finish
