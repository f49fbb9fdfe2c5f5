#!/usr/bin/env bash
# sdde_test.sh PROGRAM [short|long]: SDDE's experiments from data to table, on a small world in OpenOOD's layout, by the commands of docs/from_sdde.md.
#
# The sheets, configurations and scripts are those of the tree. What is made smaller is in `small` below: 1 epoch, and LeNet on 28 x 28 pixels where the size of the
# network forces it; sets keep their number of classes. Then networks as they are, on few images.
#   short: seed 1 of every method and sheet
#   long:  every row of every sheet, and seed 1 of every method with its own network
# Every command of the page is run here, or named below with where it is run; a command that is neither is a failure, as is one that the page no longer has.
set -euo pipefail
. "$(dirname "$0")/../../e2e/lib.sh"
. "$source_dir/tests/journeys/lib.sh"
here=$source_dir/tests/journeys/sdde
form=${2:-short}
case $form in short | long) ;; *) echo "usage: $0 PROGRAM [short|long], found $form" >&2; exit 2 ;; esac
methods=(de ncl adp dice gradcam oe gradcam_oe)
part() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# The world: what scripts/download leaves, and the tree around it.
begin from_sdde.md
python3 "$here/make_world.py" .
"$source_dir/tests/scripts/with_torch.sh" "$here/make_resnet50.py" "$work/results/checkpoints/imagenet_res50_acc76.10.pth"
# Rows that SDDE has no script for are switched on, as the page says.
python3 - jobs/sdde_*.csv <<'PY'
import csv, sys
for path in sys.argv[1:]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["enabled"] == "0":
            row["enabled"] = "1"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
PY
part "the world is made"

# small SET: what makes its sheet small.
small() {
  settings=(--set training.epochs=1 --set training.precision=f32 --set ensemble.model=lenet --set data.transform=mnist_train)
  case $1 in
    mnist | cifar10) settings+=(--set data.batch_size=8 --set data.samples_per_class=2) ;;
    imagenet200) settings+=(--ranks 1 --set grid.data=1) ;;
    imagenet) settings+=(--ranks 1 --set grid.data=1 --set 'ensemble.weights=""') ;;
  esac
}
rows=(--where seed=1 --gpus none)
seeds=1 uni_seeds=1
if [ "$form" = long ]; then rows=(--gpus none) seeds=1,2,3,4,5 uni_seeds=1..5; fi

# check FOLDER CONFIG EXPERIMENT...: every figure is there.
check() {
  local folder=$1 config=$2
  shift 2
  command="check_rows.py $folder"
  python3 "$here/check_rows.py" "$folder" "$config" "$seeds" "$@" > out 2> err || failed "figures are missing"
}

# Every sheet: training, evaluation, and in the long form its table.
for set in mnist cifar10 cifar100 imagenet200 imagenet; do
  small "$set"
  well 1 jobs run "jobs/sdde_$set.csv" "${rows[@]}" "${settings[@]}"
  [ "$form" = short ] || expect_text "71 jobs: 71 done"
  check "results/sdde/$set" "configs/sdde/$set/evaluate.toml" "${methods[@]/#/sdde_${set}_}"
  well 1 tables --layout sdde --published results/published/sdde.csv "results/sdde/$set"
  expect_text "${methods[@]/#/sdde_${set}_}"
  case $set in mnist | cifar10 | cifar100) expect_text published ;; esac
  [ "$form" = short ] || expect_file "results/sdde/$set.md"
  part "$set"
done

# Calibration on corrupted images: C1 and C5.
well 1 jobs run jobs/sdde_corrupted.csv "${rows[@]}" --ranks 1
for severity in 1 5; do
  for set in cifar10 cifar100 imagenet; do
    [ "$set$severity" != imagenet5 ] || continue
    check "results/sdde/$set-c$severity" "configs/sdde/$set/evaluate_c$severity.toml" "${methods[@]/#/sdde_${set}_}"
  done
done
part "corrupted images"
# Its rows do not depend on ranks. Stored pictures by lists.
corrupted=(evaluate configs/sdde/imagenet/evaluate_c1.toml --set 'evaluate.runs=["results/sdde/sdde_imagenet_gradcam/seed-1/best.h5"]')
for ranks in 1 2; do well "$ranks" "${corrupted[@]}" --set "evaluate.output=ranks-$ranks"; done
expect_same ranks-1/*[0-9a-f].csv ranks-2/*[0-9a-f].csv
well 1 evaluate configs/sdde/imagenet/evaluate_c1_lists.toml --set 'evaluate.runs=["results/sdde/sdde_imagenet_gradcam/seed-1/best.h5"]' --set evaluate.output=lists
seeds_of_all=$seeds
seeds=1
check lists configs/sdde/imagenet/evaluate_c1_lists.toml sdde_imagenet_gradcam
seeds=$seeds_of_all
part "lists, ranks"

# The page, from its top.
elsewhere "pip install ./python" "tests/e2e/python_test.sh"
elsewhere "scripts/setup" "scripts/test, before this test"
elsewhere "scripts/build" "scripts/test, before this test"
elsewhere ".venv/bin/python scripts/convert_sed_models.py results/mnist-gradcam --experiment sdde_mnist_gradcam --to models/sdde" tests/e2e/published_models_test.sh
elsewhere "dissent evaluate configs/sdde/mnist/evaluate.toml --set 'evaluate.runs=[\"models/sdde/mnist-gradcam/seed-*\"]' --set evaluate.output=results/theirs" tests/e2e/published_models_test.sh
for text in "scripts/download sdde-mnist sdde-cifar10 sdde-cifar100 --dry-run" "scripts/download sdde-imagenet200 sdde-imagenet --dry-run" \
  "scripts/download openood-lists cifar10 --dry-run"; do
  walk "$text"
done
expect_text data/benchmark_imglist data/images_classic/cifar10
walk "dissent imglist data/images_classic/texture --root data/images_classic --label -1 --output data/my_texture.txt"
small cifar10
walk "scripts/uni gradcam cifar10" --seeds "$uni_seeds" "${settings[@]}" -- --gpus none
expect_text "| sdde_cifar10_gradcam "
walk "dissent jobs run jobs/sdde_cifar10.csv --where method=gradcam --dry-run --no-cost" "${rows[@]}" "${settings[@]}"
walk "dissent jobs run jobs/sdde_cifar10.csv --where method=gradcam" "${rows[@]}" "${settings[@]}"
walk "dissent jobs status jobs/sdde_cifar10.csv --where method=gradcam" "${rows[@]}" "${settings[@]}"
expect_text "done"
walk "dissent tables --layout sdde results/sdde/cifar10"
expect_text sdde_cifar10_de sdde_cifar10_gradcam_oe
small mnist
mnist=("${settings[@]}")
walk "dissent train configs/sdde/mnist/gradcam.toml --set 'seeds=[1]' --set output=results/sdde" "${mnist[@]}"
walk "dissent evaluate configs/sdde/mnist/evaluate.toml --set 'evaluate.runs=[\"results/sdde/sdde_mnist_gradcam/seed-1/best.h5\"]'" --set evaluate.output=alone
small cifar10
walk "dissent jobs run jobs/sdde_cifar10.csv --where 'method=*oe' --set training.precision=bf16" "${rows[@]}" "${settings[@]/training.precision=f32/training.precision=bf16}" \
  --set output=results/bf16 --where verb=train
expect_file results/bf16/sdde_cifar10_{oe,gradcam_oe}/seed-1/best.h5
walk "dissent tables --layout sdde --published results/published/sdde.csv results/sdde/cifar10"
walk "scripts/uni gradcam cifar10-c1" --seeds "$uni_seeds" --ranks 1
expect_text "| sdde_cifar10_gradcam "
walk "dissent jobs run jobs/sdde_corrupted.csv --where dataset=cifar10 --where severity=1 --where method=gradcam" "${rows[@]}" --ranks 1
walk "dissent tables --layout sdde_corrupted results/sdde/cifar10-c1"
expect_text "| sdde_cifar10_de " "| sdde_cifar10_gradcam_oe " "| C-1 "
walk "dissent evaluate configs/sdde/cifar10/evaluate_c1_lists.toml --set 'evaluate.runs=[\"results/sdde/sdde_cifar10_gradcam/seed-1/best.h5\"]' --set evaluate.output=results/sdde/cifar10-c1-lists"
# The files of ImageNet-C are 224 x 224 and go in as they are, so a network of that size.
large=(--quiet --set training.epochs=1 --set training.precision=f32 --set ensemble.members=2 --set ensemble.model=resnet18_224x224 --set 'seeds=[1]' --set data.rows=:4 --set data.batch_size=2
  --set validation.rows=:2 --set output=large)
well 1 train configs/sdde/imagenet/gradcam.toml "${large[@]}" --set 'ensemble.weights=""'
well 1 train configs/sdde/imagenet200/gradcam_oe.toml "${large[@]}" --set unlabelled.batch_size=2
refused 1 2 "imagenet_c: expected inputs [3, 28, 28]" "found [3, 224, 224]" -- evaluate configs/sdde/imagenet/evaluate_fsood.toml --set 'evaluate.runs=["results/sdde/sdde_imagenet_gradcam/seed-1/best.h5"]'
walk "dissent evaluate configs/sdde/imagenet/evaluate_fsood.toml --set 'evaluate.runs=[\"results/sdde/sdde_imagenet_gradcam/seed-1/best.h5\"]'" \
  --set 'evaluate.runs=["large/sdde_imagenet_gradcam/seed-1/best.h5"]'
grep -q "imagenet+covariate,full_spectrum" results/sdde/imagenet_fsood/*.csv || failed "no row of the full spectrum"
walk "dissent evaluate configs/sdde/imagenet200/evaluate_fsood.toml --set 'evaluate.runs=[\"results/sdde/sdde_imagenet200_gradcam_oe/seed-1/best.h5\"]'" \
  --set 'evaluate.runs=["large/sdde_imagenet200_gradcam_oe/seed-1/best.h5"]'
grep -q "imagenet200+covariate,full_spectrum" results/sdde/imagenet200_fsood/*.csv || failed "no row of the full spectrum"
walk "dissent imglist data/images_largescale/model-vs-human/sketch --root data/images_largescale/model-vs-human --class-field 5 --output data/benchmark_imglist/model-vs-human/sketch.txt"
[ "$(cut -d' ' -f2 data/benchmark_imglist/model-vs-human/sketch.txt | tr '\n' ' ')" = "$(seq 0 15 | tr '\n' ' ')" ] || failed "the labels of model-vs-human"
for variant in stylized edge silhouette cue-conflict; do
  well 1 imglist "data/images_largescale/model-vs-human/$variant" --root data/images_largescale/model-vs-human --class-field 5 --output "data/benchmark_imglist/model-vs-human/$variant.txt"
done
walk "dissent evaluate configs/sdde/imagenet/evaluate_categories.toml --set 'evaluate.runs=[\"results/sdde/sdde_imagenet_gradcam/seed-1/best.h5\"]'"
seeds=1
check results/sdde/imagenet_categories configs/sdde/imagenet/evaluate_categories.toml sdde_imagenet_gradcam
seeds=$seeds_of_all
walk "dissent jobs run jobs/sweep_cifar10.csv --where method=gradcam --dry-run --no-cost"
expect_text gradcam-0.005 gradcam-1
walk "dissent jobs run jobs/sweep_imagenet.csv --dry-run --no-cost"
expect_text gradcam-0 gradcam-0.001 gradcam-1
well 1 jobs run jobs/sweep_cifar10.csv --where 'name=gradcam-0' --gpus none "${settings[@]}"
well 1 jobs run jobs/sweep_cifar10.csv --where 'name=gradcam-0.1' --gpus none "${settings[@]}"
walk "dissent evaluate configs/sdde/cifar10/evaluate_sweep.toml"
walk "dissent tables --rows experiment --columns dataset,metric,score --where predictor=ensemble results/sweeps/cifar10"
expect_text "cifar10_gradcam_0 " "cifar10_gradcam_0.1 " tin_validation
walk "dissent train configs/sdde/cifar10/gradcam.toml --set 'seeds=[1,2,3,4,5]' --set loss.gradcam.weight=0.1 --set experiment=chosen --set output=results/sweeps" "${settings[@]}" \
  --set 'seeds=[1,2]'
walk "dissent evaluate configs/sdde/cifar10/evaluate.toml --set 'evaluate.runs=[\"results/sweeps/chosen/seed-*/best.h5\"]' --set evaluate.output=results/sweeps/chosen-table"
[ "$(cut -d, -f18 results/sweeps/chosen-table/*[0-9a-f].csv | sort -u | wc -l)" = 2 ] || failed "two seeds of one training have other hashes of it"
walk "dissent config train-images"
walk "dissent config evaluate"
walk "dissent train configs/sdde/mnist/gradcam.toml --set 'seeds=[2]' --set loss.gradcam.weight=0.2 --set experiment=mine" "${mnist[@]}"
expect_file results/mine/seed-2/best.h5
walk "dissent inspect results/sdde/sdde_mnist_gradcam/seed-1/best.h5"
walk "dissent export results/sdde/sdde_mnist_gradcam/seed-1/best.h5 --output exported/gradcam"
expect_file exported/gradcam/ensemble.json
walk "dissent tables --layout openood --where method=cross_entropy+gradcam --score minmax results/sdde/mnist"
expect_text nearood farood
end_page
part "the page"

# Networks as they are. ImageNet's start from the pretrained ResNet50, on data ranks with synchronised BatchNorm.
few=(--set training.epochs=1 --set training.precision=f32 --set ensemble.members=2 --set validation.rows=:4)
if [ "$form" = short ]; then
  well 1 train configs/sdde/cifar10/gradcam.toml --quiet "${few[@]}" --set 'seeds=[1]' --set data.rows=:8 --set data.batch_size=4 --set output=whole
  well 2 train configs/sdde/imagenet/gradcam.toml --quiet "${few[@]}" --set 'seeds=[1]' --set data.rows=:8 --set data.batch_size=4 --set data.transform=tin_train --set grid.data=2 \
    --set output=whole
  grep -q 'batch_norm = "synchronised"' whole/sdde_imagenet_gradcam/seed-1/config.toml || failed "ImageNet is trained without synchronised BatchNorm"
  expect_file whole/sdde_{cifar10,imagenet}_gradcam/seed-1/best.h5
else
  mkdir small && mv results/sdde results/jobs small/  # the jobs too: evaluations of the same places would be done
  for set in cifar10 cifar100 imagenet200 imagenet; do
    more=(--set data.rows=:32 --set data.batch_size=16 --set data.samples_per_class=2)
    case $set in imagenet*) more+=(--ranks 2 --set grid.data=2 --set data.transform=tin_train) ;; esac
    # Two steps from random weights at a rate of 0.1: outlier exposure forwards in evaluation mode, on running statistics that are not there yet, and all logits overflow.
    [ "$set" != imagenet200 ] || more+=(--set optimizer.learning_rate=0.001)
    well 1 jobs run "jobs/sdde_$set.csv" --where seed=1 --gpus none "${few[@]}" "${more[@]}"
    seeds=1 check "results/sdde/$set" "configs/sdde/$set/evaluate.toml" "${methods[@]/#/sdde_${set}_}"
    rm -r results/sdde/sdde_*
    part "$set with its own network"
  done
fi
part "networks as they are"
finish
