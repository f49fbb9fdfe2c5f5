#!/usr/bin/env bash
# report_test.sh PROGRAM: tables, figures and event files from a few result files and training logs that are written here.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
published=$source_dir/results/published
header=experiment,run,config_hash,seed,method,members,predictor,dataset,split,shift,score,metric,convention,fidelity,value,n

# Both tables of SED's release from the published values, byte for byte.
well 1 tables --layout sed_released_generalisation "$published/sed.csv"
expect_same out "$published/filled_ood_gen_df.csv"
well 3 tables --layout sed_released_detection "$published" -o det.csv
expect_same det.csv "$published/filled_ood_det_df.csv"

# SDDE's figures next to one's own: near and far as published, nothing where no source gives one.
{
  echo "$header"
  for set in near:cifar100 near:tin far:mnist far:svhn far:texture far:places365; do
    echo "sdde_cifar10_gradcam,seed-1,h,1,cross_entropy+gradcam,5,ensemble,${set#*:},test,${set%:*},minmax,auroc,sdde,,0.93,20000"
  done
  echo "sdde_cifar10_gradcam,seed-1,h,1,cross_entropy+gradcam,5,ensemble,cifar10,test,id,,accuracy,sdde,,0.95,10000"
} > sdde.csv
well 1 tables --layout sdde --published "$published/sdde.csv" sdde.csv
expect_text "| published  | 92.06 ± 0.13 | 94.60 ± 0.17 |            - |" "| difference |        +0.94 |        -1.60 |            - |"
well 1 tables --layout sdde "$published/sdde.csv"
expect_text "| sdde_mnist_gradcam    | cross_entropy+gradcam | 5       | minmax  | 96.56 ± 0.67 | 99.88 ± 0.02 |" "Deviations as stated"

# rows METHOD SEED VALUE: what an evaluation of one run leaves.
rows() {
  local set
  echo "$header"
  echo "mine,seed-$2,h,$2,$1,5,ensemble,cifar10,test,id,,accuracy,sklearn,,$3,10000"
  for set in near:cifar100 near:tin far:svhn; do
    echo "mine,seed-$2,h,$2,$1,5,ensemble,${set#*:},test,${set%:*},msp,auroc,sklearn,,0.9$2,20000"
  done
}
mkdir -p results/mine/seed-1
for seed in 1 2 4; do rows a2d $seed 0.9$seed > results/mine/$seed.csv; done
rows de 1 0.5 > results/mine/de.csv
printf 'epoch,steps,total,cross_entropy,accuracy_ensemble,accuracy_mean,nll\n0,9,1.5,1.4,0.5,0.4,1\n1,9,1,0.9,0.75,0.5,0.25\n' > results/mine/seed-1/train.csv
printf '{"start": "2026-01-01T00:00:00Z", "wall_s": 10, "config_hash": "h", "seed": 1, "threads_a_rank": 2}' > results/mine/seed-1/provenance.json

well 1 tables --layout sdde --seeds 1..4 results
expect_text "| mine       | a2d    | 5       | msp   | 92.33 ± 1.53 (n=3 of 4) |" "Missing: mine a2d 5 msp: near (%) (seed 3); far (%) (seed 3); accuracy (%) (seed 3); NLL (seed 1, 2, 3, 4)" \
  "sample standard deviation (divided by n - 1)"
well 1 tables --layout sdde --format latex --precision 1 --deviation population results
expect_text '\toprule' 'mine & a2d & 5 & msp & 92.3 $\pm$ 1.2 & '
well 1 tables --rows method --columns metric --where dataset=svhn,cifar10 --format csv results
expect_text 'method,accuracy,accuracy deviation,accuracy n,accuracy missing,auroc,' 'de,0.5,,1,,0.91,,1,'
well 1 tables --layout openood --where method=de results
expect_text 'dataset,FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC' 'nearood,,91.00,,,50.00'
well 1 tables layouts
expect_text '`sed_generalisation`' 'arXiv:2409.16797'

sed 's/,0.91,/,0.17,/' results/mine/1.csv > other.csv
refused 3 3 'results/mine/1.csv:2 and other.csv:2: the same row with two values, 0.91 and 0.17' -- tables --layout sdde results other.csv
refused 1 2 'they differ in method' '--where method=' -- tables --layout openood results
refused 1 2 "found 'sded'; did you mean 'sdde'?" -- tables --layout sded results
refused 1 2 'expected --layout, or --rows and --columns' -- tables results
refused 1 3 'nothere.csv: no such file or folder' -- tables --layout sdde nothere.csv
refused 1 3 'train.csv:1: not a result file: expected a column' -- tables --layout sdde results/mine/seed-1/train.csv

# Figures: complete files of the right kind, nothing left next to them; without gnuplot a plain answer.
png_size() { od -An -tu1 -j16 -N8 "$1" | awk '{ print $3 * 256 + $4 "x" $7 * 256 + $8 }'; }
printf 'kind,series,x,y,low,high,weight\nreliability,ensemble,0.3,0.25,0,0.5,0.4\nreliability,ensemble,0.8,0.9,0.5,1,0.6\n' > reliability.csv
printf 'kind,series,x,y\nroc,msp,0,0\nroc,msp,0.2,0.8\nroc,msp,1,1\n' > roc.csv
printf 'kind,series,x,y,low,high\nhistogram,known,0.25,0.1,0,0.5\nhistogram,known,0.75,0.9,0.5,1\nhistogram,unknown,0.25,1,0,0.5\n' > histogram.csv
printf '%s\n' "$header" mine,seed-1,h,1,de,3,sub:1,mnist,test,far,msp,auroc,sklearn,,0.8,9 mine,seed-1,h,1,de,3,sub:2,mnist,test,far,msp,auroc,sklearn,,0.9,9 \
  mine,seed-1,h,1,de,3,ensemble,mnist,test,far,msp,auroc,sklearn,,0.95,9 > size.csv
mkdir figures
if command -v gnuplot > /dev/null; then
  for kind in reliability roc histogram size curves; do
    file=$kind.csv
    [ $kind != curves ] || file=results/mine/seed-1
    well 1 plot $kind "$file" -o figures/$kind.png -o figures/$kind.svg --width 4 --height 3 --dpi 100 --title "50 % of 'A_1'"
    [ "$(png_size figures/$kind.png)" = 400x300 ] || failed "figures/$kind.png is $(png_size figures/$kind.png), expected 400x300"
    grep -q '</svg>' figures/$kind.svg || failed "figures/$kind.svg is not complete"
  done
  [ "$(find figures -type f | wc -l)" = 10 ] || failed "left next to the figures: $(ls figures)"
  well 1 plot roc roc.csv -o kept.svg --keep-script
  gnuplot -e 'set output "/dev/null"' kept.svg.gp || failed "the kept script does not draw by itself"
  refused 1 3 'nothere/roc.png' 'cannot create' -- plot roc roc.csv -o nothere/roc.png
else
  echo "skipped: gnuplot is not there, so no figure was drawn"
fi
mkdir bin
IFS=: read -ra folders <<< "$PATH"
for folder in "${folders[@]}"; do find "$folder/" -maxdepth 1 ! -name 'gnuplot*' ! -type d -exec ln -sn -t bin {} + 2> /dev/null || true; done
PATH=$work/bin refused 1 3 'cannot start gnuplot: No such file or directory' -- plot roc roc.csv -o a.png
printf '#!/bin/sh\necho "line 3: nonsense"\nexit 1\n' > bin/gnuplot
chmod +x bin/gnuplot
PATH=$work/bin:$PATH refused 1 3 'gnuplot a.png.gp: expected exit code 0, found 1: line 3: nonsense' -- plot roc roc.csv -o a.png
expect_no_file a.png a.png.gp a.png.partial a.png.log
refused 1 2 "found 'rok'; did you mean 'roc'?" -- plot rok roc.csv -o a.png
refused 1 2 "expected a name that ends in .png or .svg, found 'a.pdf'" -- plot roc roc.csv -o a.pdf
refused 1 2 'expected points of kind histogram, found roc' -- plot histogram roc.csv -o a.png
refused 1 2 'plot roc: --output: expected a file to write, found none' -- plot roc roc.csv

# Event files, read by TensorBoard itself.
well 1 plot tensorboard results/mine/seed-1 --results results/mine/1.csv -o events
events=events/mine/seed-1/events.out.tfevents.1767225600.dissent
expect_file "$events"
python=$(cd "$source_dir" && . scripts/lib.sh && python_environment)
"$python" - > read 2> err <<'PY' || failed "TensorBoard cannot read the event file"
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator("events/mine/seed-1")
events.Reload()
print([(e.step, e.value, e.wall_time) for e in events.Scalars("validation/nll")])
print([(e.step, round(e.value, 6)) for e in events.Scalars("test/cifar10/accuracy/ensemble/sklearn")])
PY
printf '[(0, 1.0, 1767225605.0), (1, 0.25, 1767225610.0)]\n[(1, 0.91)]\n' > expected
expect_same read expected

# Several result files behind one --results, as a shell's pattern gives them; a run behind them is still a run.
sed 's/mine,seed-1/other,seed-9/' results/mine/1.csv > results/mine/other.csv
cp "$events" events.first
well 1 plot tensorboard results/mine/seed-1 --results results/mine/1.csv results/mine/other.csv -o events
expect_same events.first "$events"
well 1 plot tensorboard --results results/mine/other.csv results/mine/1.csv results/mine/seed-1 -o events
expect_same events.first "$events"
refused 1 2 "plot tensorboard: expected files to draw, found none" -- plot tensorboard --results results/mine/1.csv -o events
rm results/mine/other.csv

# What would go to Weights & Biases; nothing goes without a project.
command="send_to_wandb"
python3 "$source_dir/scripts/send_to_wandb" results/mine/seed-1 --results results/mine/1.csv --project p --dry-run > out 2> err || failed "exit code $?"
expect_text 'group mine, run mine-seed-1 (id mine-seed-1-h): 3 settings, 2 epochs, 4 results' 'epoch 1: train/steps 9, train/total 1,' 'validation/nll 0.25' \
  'test/tin/auroc/msp/ensemble/sklearn 0.91' 'nothing was sent'
python3 "$source_dir/scripts/send_to_wandb" results/mine/seed-1 > out 2> err || failed "exit code $?"
expect_text 'nothing was sent: --project is not set'
if python3 "$source_dir/scripts/send_to_wandb" results --project p > out 2> err; then failed "a folder without a run is taken"; fi
expect_text 'send_to_wandb: results: expected a run folder with provenance.json, found none'
finish
