#!/usr/bin/env bash
# uni_test.sh PROGRAM: scripts/uni METHOD DATASET from start to table on a few images of MNIST in OpenOOD's layout: trainings, evaluation, the table, results
# at Weights & Biases (offline); called again it does nothing twice; what the release does not have is named; options go to `dissent jobs`.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
python=$(cd "$source_dir" && . scripts/lib.sh && python_environment)
export DISSENT_PYTHON=$python DISSENT_PROGRAM=$program HOME=$work WANDB_SILENT=true PYTHONPATH=$source_dir/tests/e2e PYTHONDONTWRITEBYTECODE=1
for name in $(env | sed -n 's/^\(WANDB_[A-Z_]*\)=.*/\1/p' | grep -v SILENT) DISSENT_WANDB DISSENT_TENSORBOARD; do unset "$name"; done
uni() {
  command="scripts/uni $*"
  status=0
  python3 "$source_dir/scripts/uni" "$@" > out 2> err || status=$?
}
# expect_uni CODE TEXT... -- ARGS...
expect_uni() { local code=$1 texts=(); shift; while [ "$1" != -- ]; do texts+=("$1"); shift; done; shift; uni "$@"; expect_exit "$code"; expect_text "${texts[@]}"; }

expect_uni 2 'uni: jobs/sdde_mnist.csv: no such file' -- de mnist
cp -r "$source_dir/configs" "$source_dir/jobs" .

# The lists and images that the sheet's configurations name; unknown sets are inverted, transposed or noisy digits.
"$python" - "$source_dir/tests/data/mnist" <<'PY'
import gzip, pathlib, sys
import numpy as np
from PIL import Image
folder = pathlib.Path(sys.argv[1])
images = np.frombuffer(gzip.open(folder / "t10k-images-idx3-ubyte.gz").read()[16:], np.uint8).reshape(-1, 28, 28)
labels = np.frombuffer(gzip.open(folder / "t10k-labels-idx1-ubyte.gz").read()[8:], np.uint8)
lists, root = pathlib.Path("data/benchmark_imglist/mnist"), pathlib.Path("data/images_classic")
lists.mkdir(parents=True)
noise = np.random.default_rng(1)
changes = {
    "notmnist": lambda x: 255 - x, "fashionmnist": lambda x: x.T, "texture": lambda x: noise.integers(0, 255, x.shape), "cifar10": lambda x: x[::-1],
    "tin": lambda x: np.roll(x, 14, 0), "places365": lambda x: x // 2 + 100}
def write(split, name, rows, change=lambda x: x, labelled=True):
    lines = []
    for row in rows:
        path = pathlib.Path(name) / split / f"{row}.png"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(change(images[row])).astype(np.uint8)).save(root / path)
        lines.append(f"{path} {labels[row] if labelled else -1}\n")
    (lists / f"{split}_{name}.txt").write_text("".join(lines))
write("train", "mnist", range(0, 60))
write("val", "mnist", range(60, 80))
write("test", "mnist", range(80, 110))
write("val", "notmnist", range(110, 120), changes["notmnist"], False)
for name, change in changes.items():
    write("test", name, range(110, 120), change, False)
PY
sed -i 's/^epochs = 50$/epochs = 2/' configs/sdde/mnist/base.toml
grep -q '^epochs = 2$' configs/sdde/mnist/base.toml || failed "configs/sdde/mnist/base.toml does not train 50 epochs"

# Five seeds would be one call; two of them first, then the others: nothing is done twice.
expect_uni 0 -- de mnist --seeds 2,4 --wandb offline
grep -qE '^\| *sdde_mnist_de .*\(n=2 of 2\)|^\| *sdde_mnist_de .* ± ' out || failed "no row of sdde_mnist_de with a deviation"
expect_file results/sdde/mnist-de.md results/sdde/sdde_mnist_de/seed-{2,4}/best.h5
expect_no_file results/sdde/sdde_mnist_de/seed-1
"$python" - > read 2>&1 <<'PY' || { cat read; failed "the results are not in W&B's files"; }
import csv, glob
import wandb_file
summary = {}
for file in wandb_file.files_of("results/sdde/sdde_mnist_de/seed-4"):
    for record in wandb_file.records(file):
        if record.WhichOneof("record_type") == "summary":
            summary |= wandb_file.items(record.summary.update)
rows = [row for file in glob.glob("results/sdde/mnist/*.csv") for row in csv.DictReader(open(file)) if row.get("run") == "seed-4" and row.get("value")]
assert rows
for row in rows:
    name = "/".join(["test"] + [row[key] for key in ("dataset", "metric", "score", "predictor", "convention") if row[key]])
    assert summary.get(name) == float(row["value"]), (name, summary.get(name), row["value"])
print(len(rows), "rows")
PY
cp results/sdde/sdde_mnist_de/seed-4/checkpoint.h5 kept.h5
before=$(find results/jobs -name 'attempt.*' | wc -l)
expect_uni 0 -- de mnist --seeds 2,4
[ "$(find results/jobs -name 'attempt.*' | wc -l)" = "$before" ] || failed "called again it ran something again"
expect_same kept.h5 results/sdde/sdde_mnist_de/seed-4/checkpoint.h5
expect_uni 0 -- gradcam mnist --seeds 1 --gpus none --cores 1
grep -q 'minmax' out && ! grep -q 'logit_average' out || failed "the table of gradcam is not that of the release's score, minmax"

# What there is not, and what there is instead; names as the release's README spells them.
expect_uni 2 "SDDE's release has no scripts/uni/oe/mnist_multiseed.sh" 'configs/sdde/mnist/oe.toml' '--ours runs it' -- oe mnist
expect_uni 2 'no scripts/uni/gradcam-oe/imagenet_multiseed.sh' -- gradcam-oe imagenet
expect_uni 2 "METHOD: expected one of de, ncl, adp" "found 'sdde'" -- sdde mnist
expect_uni 2 "DATASET: expected one of mnist, cifar10" "found 'svhn'" -- de svhn
expect_uni 2 '--seeds: the sheets have 1..5' -- de mnist --seeds 0..2
for ranks in 0 -1 two ''; do expect_uni 2 "--ranks: expected an integer >= 1, found '$ranks'" -- de mnist --seeds 2 "--ranks=$ranks" --dry-run; done
expect_uni 2 "--cores: expected an integer >= 1, found '0'" -- de mnist --cores 0
expect_uni 2 '--gpus none: only for jobs that run here' 'columns threads and gpus of jobs/sdde_mnist.csv' -- de mnist --submit --gpus none
# Settings that would part a training, its evaluation and the table.
for key in output experiment evaluate.output evaluate.experiment evaluate.runs; do
  expect_uni 2 "uni: --set $key: jobs/sdde_mnist.csv sets it for each row" 'copy the sheet instead' "set:$key" -- de mnist --set training.epochs=1 --set "$key=x"
done
expect_uni 2 '--set output: jobs/sdde_mnist.csv' -- de mnist -- --no-cost --set output=x
expect_uni 2 '--set seeds: the sheet sets the seed of each row; --seeds selects' -- de mnist --set 'seeds=[7]'
COLUMNS=200 expect_uni 0 '--gpus LIST' '--cores N' 'evaluate.runs: copy the sheet' -- --help
DISSENT_PROGRAM=$work/nowhere expect_uni 2 nowhere -- de mnist
export WANDB_MODE=disabled

# What goes to the program, which says its words here; the sheet of what the release lacks has its rows enabled.
printf '#!/bin/sh\nfor word in "$@"; do printf "[%%s]" "$word"; done\necho\n' > says
chmod +x says
export DISSENT_PROGRAM=$work/says
expect_uni 0 '[jobs][submit][jobs/sdde_cifar100.csv][--state][s][--where][method=ncl][--where][seed=[123]][--ranks][4][--set][training.epochs=1][--set][a.b=c d][--wandb][online][--tensorboard][--dry-run][--no-cost]' -- \
  nlc cifar100 --seeds 1..3 --ranks 4 --set training.epochs=1 --set 'a.b=c d' --wandb online --tensorboard --dry-run --submit --state s -- --no-cost
expect_uni 0 '[--where][method=gradcam_oe][--dry-run]' -- gradcam-oe imagenet200 --dry-run
expect_uni 0 '[jobs][run][results/jobs/sdde_mnist_oe_ours.csv]' -- oe mnist --ours --dry-run
[ "$(grep -c '{oe | gradcam_oe},{1..5},[^,]*,,[^,]*,1,' results/jobs/sdde_mnist_oe_ours.csv)" = 2 ] || failed "rows that are not enabled: $(cat results/jobs/sdde_mnist_oe_ours.csv)"
expect_uni 0 '[--ranks][2][--cores][3][--gpus][none][--dry-run]' -- de mnist --gpus none --cores 3 --ranks 2 --dry-run
# Sheets as `dissent jobs` reads them: a mark first, other words for a row that is off.
cp jobs/sdde_mnist.csv sheet
sed '1s/^/\xef\xbb\xbf/' sheet > jobs/sdde_mnist.csv
expect_uni 0 '[jobs][run][jobs/sdde_mnist.csv]' -- de mnist --dry-run
for word in no No false FALSE; do
  "$python" - sheet "$word" > jobs/sdde_mnist.csv <<'PY'
import csv, sys
reader = csv.DictReader(open(sys.argv[1], newline=""))
writer = csv.DictWriter(sys.stdout, reader.fieldnames, lineterminator="\n")
writer.writeheader()
writer.writerows(row | ({"enabled": sys.argv[2]} if row["enabled"] == "0" else {}) for row in reader)
PY
  expect_uni 2 "SDDE's release has no scripts/uni/oe/mnist_multiseed.sh" "rows of jobs/sdde_mnist.csv with enabled = $word" -- oe mnist
done
expect_uni 0 '[results/jobs/sdde_mnist_oe_ours.csv]' -- oe mnist --ours --dry-run
[ "$(grep -c '{oe | gradcam_oe},{1..5},[^,]*,,[^,]*,1,' results/jobs/sdde_mnist_oe_ours.csv)" = 2 ] || failed "rows are off still: $(cat results/jobs/sdde_mnist_oe_ours.csv)"
mv sheet jobs/sdde_mnist.csv
export DISSENT_PROGRAM=$program
# A training that fails ends it, without a table.
mv data/benchmark_imglist gone
uni ncl mnist --seeds 1
[ "$status" != 0 ] || failed "exit code 0 without images"
expect_no_file results/sdde/mnist-ncl.md
finish
