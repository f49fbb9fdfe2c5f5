#!/usr/bin/env bash
# published_models_test.sh PROGRAM: networks as SDDE and OpenOOD publish them (best.ckpt: all members in one; a file a seed) are converted and evaluated: the figures of the run that they
# were taken from.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
python=$(. "$source_dir/scripts/lib.sh" && torch_python)

image_set images 60 28
cat > train.toml <<'TOML'
experiment = "lenets"
seeds = [3]
[data]
kind = "images"
dataset = "mnist"
split = "test"
root = "images"
transform = "mnist_train"
batch_size = 20
[ensemble]
members = 3
model = "lenet"
[loss.cross_entropy]
[optimizer]
learning_rate = 0.05
[training]
epochs = 1
TOML
cat > evaluate.toml <<'TOML'
[evaluate]
experiment = "published"
scores = ["average", "mutual_information"]
predictors = ["ensemble", "members", "soup"]
metrics = ["accuracy", "nll", "ece", "auroc"]
[[evaluate.sets]]
name = "mnist"
role = "id"
dataset = "mnist"
split = "test"
root = "images"
[[evaluate.sets]]
name = "noisy"
shift = "far"
dataset = "mnist"
split = "test"
root = "images"
corruption = "gaussian_noise"
severity = 5
TOML
well 1 train train.toml --quiet
well 1 export results/lenets/seed-3 --output exported
cat > checkpoints.py <<'PY'
import json, pathlib, struct, torch

def tensors(path):
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    read = {"F32": torch.float32, "I64": torch.int64}
    found = {}
    for name, entry in json.loads(content[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            found[name] = torch.frombuffer(bytearray(content[begin:end]), dtype=read[entry["dtype"]]).reshape(entry["shape"])
    return found

members = [tensors(path) for path in sorted(pathlib.Path("exported").glob("member-*.safetensors"))]
for seed, state in enumerate(members):
    pathlib.Path(f"openood/s{seed}").mkdir(parents=True)
    torch.save(state, f"openood/s{seed}/best.ckpt")
whole = {f"module.nets.{m}.{name}": tensor for m, state in enumerate(members) for name, tensor in state.items()}
torch.save(whole, "best.ckpt")
for seed in (1, 2):
    pathlib.Path(f"sdde/{seed}").mkdir(parents=True)
    torch.save(whole, f"sdde/{seed}/best.ckpt")
PY
"$python" checkpoints.py 2> err
"$python" "$source_dir/scripts/convert_sed_models.py" openood best.ckpt sdde --to converted > out 2> err || failed "not converted"

# rows FOLDER: what does not name the run.
rows() { cut -d, -f4,6-16 "$1"/????????????????.csv | sed 's/^[0-9]*,//' | sort; }
well 1 evaluate evaluate.toml --quiet --set 'evaluate.runs=["results/lenets/seed-3"]' --set evaluate.output=own
for name in openood best; do
  well 1 evaluate evaluate.toml --quiet --set "evaluate.runs=[\"converted/$name\"]" --set "evaluate.output=of-$name"
  diff <(rows own) <(rows "of-$name") > out || failed "other figures of $name than of the run"
  grep -q "^$name,$name,,0,released,3,ensemble,mnist," "of-$name"/????????????????.csv || failed "rows do not name $name"
done
# SDDE's folders of seeds: a pattern names them all.
well 1 evaluate evaluate.toml --quiet --set 'evaluate.runs=["converted/sdde/seed-*"]' --set evaluate.output=of-sdde
for seed in 1 2; do grep -q "^sdde,seed-$seed,,$seed,released,3,ensemble,mnist," of-sdde/????????????????.csv || failed "no rows of seed $seed"; done
refused 1 3 "empty/checkpoint.h5" -- evaluate evaluate.toml --set "evaluate.runs=[\"$(mkdir -p empty && echo empty)\"]"
finish
