#!/usr/bin/env bash
# install_test.sh BUILD: the installed tree works after it was moved, for a user who did not install it: program, sheets, configurations, batch
# scripts. What docs/clusters.md says of it is done here, as nobody where this is root.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'cd /; rm -rf "$work"' EXIT
chmod 755 "$work"
failures=0
failed() { printf 'FAILED: %s\n' "$*"; failures=$((failures + 1)); }

umask 022
cmake --install "$1" --prefix "$work/first" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/moved"
tree=$work/moved
for file in bin/dissent include/dissent/error.hpp share/dissent/configs/sed/ood_gen.toml share/dissent/results/published/sed.csv share/dissent/scripts/{uni,send_to_wandb,download,downloads.csv,sed_tables,convert_sed_models.py} share/doc/*/LICENSE share/doc/*/README.md; do
  # shellcheck disable=SC2086
  ls "$tree"/$file >/dev/null 2>&1 || failed "$file was not installed"
done
if grep -rqF "$work/first" "$tree"; then
  failed "the tree names the place where it was first: $(grep -rlF "$work/first" "$tree" | head -3)"
fi

# user COMMAND...: as nobody, in a home of its own, with nothing of this shell's environment.
mkdir "$work/home"
as=()
if [ "$(id -u)" = 0 ]; then
  chown 65534:65534 "$work/home"
  as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi
user() {
  (cd "$work/home" && "${as[@]}" env -i HOME="$work/home" USER=nobody LANG=C.UTF-8 OMP_NUM_THREADS=1 PATH="$tree/bin:/usr/local/bin:/usr/bin:/bin" \
    OMPI_MCA_pml=ob1 OMPI_MCA_btl=^openib,ofi,usnic,tcp "$@")
}
# well COMMAND...: it ends with 0.
well() {
  local status=0
  user "$@" > "$work/out" 2>&1 || status=$?
  if [ "$status" != 0 ]; then
    tail -n 15 "$work/out"
    failed "$* ended with $status"
  fi
}
says() { grep -qF -- "$1" "$work/out" || { head -n 20 "$work/out"; failed "it does not say: $1"; }; }

well cp -r "$tree"/share/dissent/. .
well dissent --help
says "usage: "
well dissent config train
well dissent doctor --folder .
well mpirun --oversubscribe -n 2 dissent doctor --folder .
well dissent jobs submit jobs/sdde_cifar10.csv --dry-run --no-cost --no-files --where method=gradcam
says "dissent train configs/sdde/"
well dissent jobs status jobs/sed_training.csv
well dissent tables layouts

# A batch script finds the program of its tree, and a copy of the folder that of PATH; sbatch is a stand-in that says which one.
user mkdir bin
user sh -c 'printf "#!/bin/sh\necho \"program \$DISSENT_PROGRAM\"\n" > bin/sbatch && chmod +x bin/sbatch'
well env PATH="$work/home/bin:/usr/bin:/bin" "$tree/share/dissent/slurm/submit" one_node doctor
says "program $tree/bin/dissent"
well env PATH="$work/home/bin:$tree/bin:/usr/bin:/bin" slurm/submit one_node doctor
says "program $tree/bin/dissent"
status=0
user env PATH="$work/home/bin:/usr/bin:/bin" slurm/submit one_node doctor > "$work/out" 2>&1 || status=$?
[ "$status" = 3 ] || failed "a copy of slurm/ without a program ended with $status"
says "slurm/site.sh: expected dissent in $work/home/build/release"
user rm -r bin

# A training, its replay and an evaluation on features that are made up.
cp "$source_dir"/tests/data/mnist/* "$work/home/"
well sh -c 'printf "[data]\ndataset = \"mnist\"\nsplit = \"test\"\nroot = \".\"\n[cache]\noutput = \"train.cache\"\n" > cache.toml'
well dissent cache cache.toml --quiet
well sh -c 'printf "experiment = \"installed\"\n[data]\ntrain = \"train.cache\"\n[ensemble]\nmembers = 2\nhidden = 16\n[loss.cross_entropy]\n[training]\nepochs = 1\n" > train.toml'
well mpirun --oversubscribe -n 2 dissent train train.toml --quiet
well dissent replay results/installed/seed-42
well scripts/uni gradcam cifar10 --seeds 1,2 --dry-run -- --no-cost --no-files
says "dissent train configs/sdde/cifar10/gradcam.toml"
well dissent export results/installed/seed-42/checkpoint.h5 --output exported
well dissent evaluate configs/sed/evaluation.toml --set 'evaluate.runs=["exported"]' --set evaluate.id=train.cache --set 'evaluate.sets=[]' --set evaluate.output=results/exported --quiet
says "rows in results/exported"
well scripts/download sed-models --dry-run
says "models/symlinked/ood_gen.pkl"
well scripts/sed_tables --help

# From login to table, as docs/clusters.md has it, on a real Slurm whose user this one is. Its daemons need root.
if [ "$(id -u)" = 0 ]; then
  . "$source_dir/tests/e2e/jobs_lib.sh"
  "$source_dir/scripts/slurm_sandbox" start "$work/slurm" "$(free_port 29827)" > "$work/out" 2>&1 || { cat "$work/out"; exit 1; }
  trap '"$source_dir/scripts/slurm_sandbox" stop "$work/slurm"; cd /; rm -rf "$work"' EXIT
  chmod 755 "$work/slurm"
  # in_slurm COMMAND...: well, with this Slurm and a copy of site.sh.
  in_slurm() { well env SLURM_CONF="$work/slurm/slurm.conf" DISSENT_SITE="$work/home/site.sh" OMPI_MCA_btl=self,vader "$@"; }
  well sh -c "sed 's/^MPIRUN_OPTIONS=.*/MPIRUN_OPTIONS=(--oversubscribe --bind-to none)/' slurm/site.sh > site.sh"
  cat > "$work/home/sheet.csv" <<'CSV'
name,verb,config,ranks,after,set:seeds,set:experiment,arguments,slurm:time,set:evaluate.runs,set:evaluate.id,set:evaluate.sets,set:evaluate.output
train,train,train.toml,2,,[{1 | 2}],sheet,"[""--quiet""]",00:05:00,,,,
table,evaluate,configs/sed/evaluation.toml,1,train,,,"[""--quiet""]",00:05:00,['results/sheet/seed-*'],train.cache,[],results/sheet
CSV
  in_slurm slurm/submit --ntasks-per-node=2 --cpus-per-task=1 --time=00:05:00 --output=doctor.log --wait one_node doctor --folder .
  grep -q 'ok' "$work/home/doctor.log" || failed "the doctor's log: $(head -5 "$work/home/doctor.log")"
  in_slurm slurm/submit --ntasks-per-node=2 --cpus-per-task=1 --time=00:05:00 --output=batch.log --wait one_node train train.toml --quiet --set experiment=batch
  [ -f "$work/home/results/batch/seed-42/checkpoint.h5" ] || failed "no checkpoint: $(tail -5 "$work/home/batch.log")"
  in_slurm dissent jobs submit sheet.csv --dry-run
  says "2 ranks x 1 threads, grid 1 x 2 x 1 (runs x members x data)"
  in_slurm dissent jobs submit sheet.csv
  in_slurm timeout 120 dissent jobs status sheet.csv --watch --seconds 1
  says "3 jobs: 3 done"
  in_slurm dissent jobs submit sheet.csv
  in_slurm dissent jobs status sheet.csv --csv back.csv
  ls "$work"/home/results/sheet/*.csv > /dev/null || failed "no rows of the sheet's evaluation"
  in_slurm sh -c 'dissent tables results/sheet/*.csv --rows experiment,predictor --columns dataset --metric accuracy'
  "$source_dir/scripts/slurm_sandbox" stop "$work/slurm"
else
  echo "not run: submitting as a user needs a Slurm of one's own, which needs root"
fi

# The companion of W&B and scripts/uni are those of the tree. The client is that of the tests, in a place that nobody may be kept from: so this user runs it.
if dissent_python=$(cd "$source_dir" && . scripts/lib.sh && python_environment); then
  as=()
  well env DISSENT_PYTHON="$dissent_python" dissent train train.toml --quiet --set experiment=followed --set output=followed --wandb offline --tensorboard
  grep -q '"state": "offline"' "$work/home/followed/followed/seed-42/wandb.json" || failed "W&B was told nothing: $(cat "$work/home/followed/followed/seed-42/wandb.log")"
  ls "$work"/home/followed/followed/seed-42/events.out.tfevents.*.live > /dev/null || failed "no event file"
else
  failed "no Python with the client of W&B (scripts/setup --tests)"
fi

[ "$failures" = 0 ] && echo "the installed tree can be moved, and works for a user who did not install it"
exit "$((failures > 0))"
