#!/usr/bin/env bash
# trace_test.sh PROGRAM: what `train --trace` writes and when, and training.precision = "f64". That the steps are PyTorch's: tests/journeys/trajectory.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
python=$(cd "$source_dir" && . scripts/lib.sh && python_environment)

image_set images 150 28
cache 1 train images
cat > heads.toml <<'TOML'
experiment = "heads"
[data]
train = "train.cache"
batch_size = 50
[ensemble]
members = 3
active = 2
hidden = 16
[loss.cross_entropy]
[loss.a2d]
weight = 0.25
[training]
epochs = 3
frozen_first_epoch = true
TOML
cat > images.toml <<'TOML'
experiment = "images"
[data]
kind = "images"
dataset = "mnist"
split = "test"
root = "images"
rows = ":100"
transform = "mnist_train"
batch_size = 25
[unlabelled]
split = "test"
rows = "100:"
batch_size = 10
[ensemble]
members = 2
model = "lenet"
[loss.cross_entropy]
[loss.oe]
weight = 0.5
[training]
accumulation = 2
epochs = 2
TOML

# trace_holds FILE EXPRESSION: it is true of the open file f, of s (its steps) and of a(i, name), an attribute of step i.
trace_holds() {
  command="trace $1: $2"
  "$python" - "$1" "$2" <<'PYTHON' 2>err || failed "does not hold"
import sys, h5py
f = h5py.File(sys.argv[1])
s = [f["steps"][name] for name in sorted(f["steps"])]
a = lambda i, name: s[i].attrs[name]
assert f.attrs["format"] == b"dissent-trace" and f.attrs["version"] == 2 and f.attrs["steps"] == len(s)
assert eval(sys.argv[2])
PYTHON
}

# The steps in their order; a trace changes no bit of the run, and is deleted with it.
well 1 train heads.toml --quiet
cp results/heads/seed-42/checkpoint.h5 plain.h5
expect_no_file results/heads/seed-42/trace.h5
refused 1 2 "--trace: expected no run in results/heads/seed-42 (a trace starts from the initial weights), found one" -- train heads.toml --quiet --trace 5
well 1 train heads.toml --quiet --force --trace 5
expect_same results/heads/seed-42/checkpoint.h5 plain.h5
trace=results/heads/seed-42/trace.h5
trace_holds $trace '[(a(i, "epoch"), a(i, "step"), a(i, "update")) for i in range(5)] == [(0, 0, 0), (0, 1, 0), (0, 2, 0), (1, 0, 1), (1, 1, 1)]'
trace_holds $trace 'f.attrs["kind"] == b"heads" and f.attrs["losses"] == b"cross_entropy a2d" and s[0]["x"].shape == (50, 784) and s[0]["active"].shape == (2,)'
trace_holds $trace 'f["initial/members/head.weight"].shape == (3, 10, 784) and f["final/members/head.weight"].dtype == "float32"'
trace_holds $trace '(f["initial/members/head.bias"][()] != f["first/members/head.bias"][()]).any(1).sum() == 2'
well 1 train heads.toml --quiet --force
expect_no_file $trace
well 1 train heads.toml --quiet --force --trace 1000
trace_holds $trace 'len(s) == 9 and (f["final/members/head.weight"][()] == __import__("h5py").File("plain.h5")["members/head.weight"][()]).all()'

# Images: a group a batch, k of them an update; outliers.
well 1 train images.toml --quiet --trace 3
trace=results/images/seed-42/trace.h5
trace_holds $trace '[(a(i, "epoch"), a(i, "step"), a(i, "update"), a(i, "share")) for i in range(6)] == [(0, 0, 0, 0.5), (0, 1, 1, 0.5), (0, 2, 0, 0.5), (0, 3, 1, 0.5), (1, 0, 0, 0.5), (1, 1, 1, 0.5)]'
trace_holds $trace 'len(s) == 6 and sorted(s[0]["own"]) == ["0", "1"] and s[0]["own/1/x"].shape == (25, 3, 28, 28) and s[0]["own/1/draws"].shape == (25, 5)'
trace_holds $trace 's[0]["unlabelled/x"].shape == (10, 3, 28, 28) and "draws" not in s[0]["unlabelled"] and s[0]["losses"].shape == (2,)'

# f64: the same bytes on any split of the members; dtypes; what it does not go with.
for ranks in 1 3; do well $ranks train heads.toml --quiet --set output=f64-$ranks --set 'training.precision="f64"'; done
expect_same f64-1/heads/seed-42/checkpoint.h5 f64-3/heads/seed-42/checkpoint.h5
for ranks in 1 2; do well $ranks train images.toml --quiet --set output=f64-$ranks --set 'training.precision="f64"'; done
expect_same f64-1/images/seed-42/checkpoint.h5 f64-2/images/seed-42/checkpoint.h5
"$python" - <<'PYTHON' || failed "f64 is not near f32, or not f64"
import h5py, numpy as np
for name, tensor in (("heads", "members/head.weight"), ("images", "members/fc.weight")):
    exact, plain = (h5py.File(f"{folder}/{name}/seed-42/checkpoint.h5")[tensor][()] for folder in ("f64-1", "results"))
    assert exact.dtype == np.float64 and (exact != exact.astype(np.float32)).any(), name
    assert np.abs(exact - plain).max() < 1e-4 * np.abs(exact).max(), name
PYTHON
well 1 train heads.toml --quiet --set output=stopped --set 'training.precision="f64"' --set training.epochs=1
for kind in heads images; do
  refused 1 2 "training.precision" "\"f64\" is computed on CPUs only" -- train $kind.toml --set 'training.precision="f64"' --set runtime.device=cuda
  refused 1 2 "training.precision" "\"tf32\" needs a GPU" -- train $kind.toml --set 'training.precision="tf32"' --set runtime.device=cpu
  CUDA_VISIBLE_DEVICES='' refused 1 2 'training.precision = "tf32": expected a GPU, found none' -- train $kind.toml --set 'training.precision="tf32"' --set output=none
done

# runtime.deterministic is for GPUs: on the CPU the same bytes with and without it, one run to the program.
well 1 train heads.toml --quiet --set output=deterministic --set runtime.deterministic=true
expect_same results/heads/seed-42/checkpoint.h5 deterministic/heads/seed-42/checkpoint.h5
well 1 train heads.toml --quiet --set runtime.deterministic=true
expect_text "event=run_reused"

# Bad input; nothing is left behind.
refused 1 2 "--trace: expected an integer >= 1, found 0" -- train heads.toml --trace 0
refused 2 2 "--trace: expected one rank, found 2" -- train heads.toml --trace 2
refused 1 2 "--trace: expected data.on_damaged" -- train images.toml --quiet --set output=bad --trace 2 --set data.on_damaged=skip
refused 1 3 "training has diverged" -- train heads.toml --quiet --set output=bad --set optimizer.learning_rate=1e38 --trace 100
expect_nothing_half_written bad
expect_no_file bad/heads/seed-42/trace.h5

finish
