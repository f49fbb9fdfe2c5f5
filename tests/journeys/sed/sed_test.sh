#!/usr/bin/env bash
# sed_test.sh PROGRAM [short|long]: what docs/from_sed.md says, in a small world of the real layout and names: images to caches, four trainings, the evaluation, both tables;
# then SED's pickled models to the same tables, and its three sheets as they are. 1 and 2 ranks give the same bytes.
set -euo pipefail
. "$(dirname "$0")/../../e2e/lib.sh"
. "$source_dir/tests/journeys/lib.sh"
form=${2:-short}
python=$(. "$source_dir/scripts/lib.sh" && python_environment)
if [ "$form" = long ]; then images=12 hidden=3072 epochs=3; else images=3 hidden=64 epochs=3; fi

# The project's root as a user has it.
"$python" "$source_dir/tests/journeys/sed/make_world.py" . "$images"
begin from_sed.md
mkdir result_sheets
cp "$source_dir"/tests/journeys/sed/sheets/*.csv result_sheets/

caching=(--set trunk.batch_size=4 --set runtime.device=cpu --set runtime.threads=1 --set data.allow_empty=true) # few of the class folders have an image
training=(--set ensemble.hidden=$hidden --set "training.epochs=$epochs" --set runtime.device=cpu --set runtime.threads=1)
cached=data/datasets/cached

# sheet RANKS SHEET OPTIONS...: every row is done.
sheet() {
  local ranks=$1 name=$2
  shift 2
  run_program 1 jobs run "$name" --gpus none --ranks "$ranks" "$@"
  expect_exit 0
}

# from_caches RANKS: from the caches to the tables.
from_caches() {
  sheet "$1" jobs/sed_training.csv "${training[@]}"
  sheet "$1" jobs/sed_evaluation.csv --set runtime.threads=1
}

# whole_tables FOLDER: four trainings, no figure missing; the released tables have the release's lines.
whole_tables() {
  local table
  command="tables of $1"
  for table in generalisation detection; do
    [ "$(grep -c '^| sed_' "$1/$table.md")" -ge 4 ] || failed "$1/$table.md has not a row of each training"
    ! grep -q '^| sed_.*| *- *|' "$1/$table.md" || failed "$1/$table.md lacks figures: $(grep -m 1 '^| sed_.*| *- *|' "$1/$table.md")"
    ! grep -q '^Missing' "$1/$table.md" || failed "$1/$table.md: $(grep '^Missing' "$1/$table.md")"
    grep -q 'published' "$1/$table.md" || failed "$1/$table.md shows no published figures"
  done
  for table in ood_gen_df ood_det_df; do
    diff <(cut -d, -f1 "$1/$table.csv") <(cut -d, -f1 "results/published/filled_$table.csv") > out || failed "$1/$table.csv has other rows than SED's"
    diff <(head -n 2 "$1/$table.csv") <(head -n 2 "results/published/filled_$table.csv") > out || failed "$1/$table.csv has other columns than SED's"
    # As many empty fields as in the published table, which are those between its blocks.
    [ "$(tail -n +3 "$1/$table.csv" | grep -o ',,' | wc -l)" = "$(tail -n +3 "results/published/filled_$table.csv" | grep -o ',,' | wc -l)" ] || failed "$1/$table.csv lacks figures"
  done
}

# From images to caches, on 1 and 2 ranks.
sheet 1 jobs/sed_caching.csv "${caching[@]}"
[ "$(find "$cached" -name manifest.toml | wc -l)" = 36 ] || failed "$(find "$cached" -name manifest.toml | wc -l) caches, expected 36"
mv "$cached" cached-1
mv results/jobs jobs-1
sheet 2 jobs/sed_caching.csv "${caching[@]}"
command="caches of 1 and 2 ranks"
diff <(cd cached-1 && find . -name 'shard-*' -exec sha256sum {} + | sort -k 2) <(cd "$cached" && find . -name 'shard-*' -exec sha256sum {} + | sort -k 2) > out ||
  failed "1 and 2 ranks wrote other caches"

# Training, evaluation and tables, on 1 and 2 ranks.
from_caches 1
whole_tables results/sed
mkdir one
mv results/sed results/sed_* results/jobs one/
from_caches 2
command="results of 1 and 2 ranks"
for file in generalisation.md detection.md ood_gen_df.csv ood_det_df.csv; do expect_same "results/sed/$file" "one/sed/$file"; done
for run in one/sed_*/seed-42; do expect_same "$run/checkpoint.h5" "results/${run#one/}/checkpoint.h5"; done
expect_same one/sed/????????????????.csv results/sed/????????????????.csv

# Single sets, as the page has them: there already.
walk "dissent cache configs/sed/caching_in_val.toml" "${caching[@]}"
walk "dissent cache configs/sed/caching_in_c.toml --set variables.corruption=fog --set variables.severity=5" "${caching[@]}"
expect_text "event=cache_reused path=$cached/fog_5/deit3b_-1.cache"
walk "dissent jobs run jobs/sed_evaluation.csv" --gpus none --ranks 2 --set runtime.threads=1
grep -q 'started' err && failed "a sheet that is done runs again"

# SED's own files give the rows of the caches that hold the same.
"$python" "$source_dir/tests/journeys/sed/make_hdf5.py" "$cached"
walk "dissent evaluate configs/sed/evaluation.toml --set variables.format=hdf5" --set evaluate.output=results/hdf5 --set runtime.threads=1
command="rows of caches and of SED's files"
diff <(sort results/sed/????????????????.csv) <(sort results/hdf5/????????????????.csv) > out || failed "other rows"
walk "dissent train configs/sed/ood_gen.toml --set variables.train_format=hdf5" "${training[@]}" --set output=results/hdf5
# The file does not say how many classes there are: it has those of the images that are there, so losses are others here.
expect_text "event=data rows_per_pass=$((2 * images)) passes=4 dim=768"
expect_file results/hdf5/sed_ood_gen/seed-42/checkpoint.h5

# An exported ensemble is evaluated to the rows of its run.
mkdir exported
for run in results/sed_*/seed-42; do
  name=${run#results/}
  well 1 export "$run" --output "exported/${name%/seed-42}"
done
well 1 evaluate configs/sed/evaluation.toml --set 'evaluate.runs=["exported/*"]' --set evaluate.output=results/exported --set runtime.threads=1
command="rows of runs and of exported ensembles"
diff <(sort results/sed/????????????????.csv) <(sort results/exported/????????????????.csv) > out || failed "other rows"

# SED's main road: pickled models, whose classes no longer exist, to the same tables.
"$python" "$source_dir/tests/journeys/sed/make_models.py" exported/sed_50_models=50_models exported/sed_ood_gen=ood_gen \
  exported/sed_ood_det_covariate=ood_det_cov exported/sed_ood_det_semantic=ood_det_sem --to models/symlinked
elsewhere "scripts/download sed-models sed-caches" tests/scripts/test_download.py
walk "scripts/sed_tables --set variables.format=hdf5" --set runtime.threads=1
expect_text "Published values: " "sed_ood_det_covariate"
mv results/sed-published by-script
walk ".venv/bin/python scripts/convert_sed_models.py models/symlinked/*.pkl --to models/converted"
walk "dissent evaluate configs/sed/published_models.toml --set variables.format=hdf5" --set runtime.threads=1
walk "dissent tables --layout sed_generalisation --published results/published/sed.csv results/sed-published"
expect_same out by-script/generalisation.md
walk "dissent tables --layout sed_detection --score pds --published results/published/sed.csv results/sed-published"
expect_same by-script/????????????????.csv results/sed-published/????????????????.csv
mv by-script/*.md by-script/*_df.csv results/sed-published/
whole_tables results/sed-published
for file in generalisation.md detection.md ood_gen_df.csv ood_det_df.csv; do expect_same "results/sed/$file" "results/sed-published/$file"; done

# The release's own sheets, on the caches that are there: the same sets, network and weights, so each is used again. Their weights have another name.
mkdir imported
mv results/sed results/sed_* results/jobs imported/
mkdir -p models/deit3
ln -s ../../data/weights/deit_3_base_224_21k.pth models/deit3/
find "$cached" -name 'shard-*' -exec sha256sum {} + > before
for name in caching training evaluation; do
  command="jobs import of SED's $name.csv"
  dissent jobs import "result_sheets/$name.csv" > "$name.csv" 2> err || failed "refused"
  sed -i -E '2,$s/^([^,]*,[^,]*,[^,]*),0/\1,1/' "$name.csv" # whether_to_run: some of the release's rows are finished
done
known "dissent jobs import result_sheets/caching.csv > caching.csv"
walk "dissent jobs run caching.csv" --gpus none --ranks 1 "${caching[@]}"
sheet 1 training.csv "${training[@]}"
sheet 1 evaluation.csv --set runtime.threads=1
command="imported sheets against those of jobs/"
find "$cached" -name 'shard-*' -exec sha256sum {} + | diff before - > out || failed "the caches were written again, and otherwise"
[ "$(grep -l event=cache_reused -r results/jobs | wc -l)" = 36 ] || failed "$(grep -l event=cache_reused -r results/jobs | wc -l) caches were used again, expected 36"
for file in generalisation.md detection.md ood_gen_df.csv ood_det_df.csv; do expect_same "results/sed/$file" "imported/sed/$file"; done

# Bad input is named, and nothing is half-written.
mv "$cached/fog_5" fog_5
refused 1 3 "C-5: expected 15 files, found 14" -- evaluate configs/sed/evaluation.toml --set evaluate.output=results/none
mv fog_5 "$cached/fog_5"
expect_no_file results/none
head -c 3000000 models/symlinked/ood_gen.pkl > half.pkl
command="scripts/sed_tables of a model that is cut off"
mv half.pkl models/symlinked/ood_gen.pkl
status=0
scripts/sed_tables > out 2> err || status=$?
expect_exit 3
expect_text "ood_gen.pkl: damaged"
rm models/symlinked/ood_gen.pkl
status=0
scripts/sed_tables > out 2> err || status=$?
expect_exit 3
expect_text "models/symlinked/ood_gen.pkl: no such file (scripts/download sed-models)"
sed -i 's/"norm2.bias"/"norm2"/; s/"hidden": [0-9]*/"hidden": "wide"/' models/converted/ood_det_cov/ensemble.json
refused 1 3 "models/converted/ood_det_cov/ensemble.json: hidden: expected an integer, found string" -- evaluate configs/sed/published_models.toml
end_page
finish
