#!/usr/bin/env python3
"""run.py PROGRAM short|long [NAME...]: trains with `dissent train --trace` and repeats each trace in PyTorch (replay.py).

SED heads: AdamW and SGD, 2 of 5 active, A2D with hard weights, frozen first epoch. SDDE: de, gradcam, ncl, adp, dice, oe on LeNet and ResNet18, with
augmentation. Each in f64 and f32.
short: 100 steps of small heads and of LeNet on few images, two
of ResNet18, f32 of some; long: 100 steps of all, heads of full width. NAME...: these cases alone, or those that begin so. Works in the current folder.
"""
import gzip
import os
import pathlib
import subprocess
import sys
import time

import h5py
import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import replay  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parents[3]
FASHION = "/usr/share/datasets/fashion-mnist"
MNIST = str(SOURCE / "tests" / "data" / "mnist")
PROGRAM, FORM = os.path.abspath(sys.argv[1]), sys.argv[2]
LONG = {"short": False, "long": True}[FORM]

HEADS = """
[data]
train = "features.hdf5"
batch_size = {batch}
[ensemble]
members = 5
active = 2
{width}
[loss.cross_entropy]
weight = 0.5
[loss.a2d]
weight = 0.25
sample_weight = "hard"
[optimizer]
{optimizer}
[schedule]
name = "cosine"
t_max_epochs = 15
[training]
epochs = 5
frozen_first_epoch = true
"""
IMAGES = """
[data]
kind = "images"
root = "{root}"
rows = "0:{rows}"
transform = "{transform}"
batch_size = {batch}
{data}
[ensemble]
members = {members}
model = "{model}"
[loss.cross_entropy]
{loss}
[optimizer]
name = "sgd"
learning_rate = {rate}
momentum = 0.9
nesterov = true
weight_decay = 5e-4
[schedule]
name = "cosine"
per = "step"
minimum = 1e-6
[training]
epochs = {epochs}
{training}
"""
OPTIMIZERS = {"adamw": 'name = "adamw"\nlearning_rate = 1e-3\nweight_decay = 0.1', "sgd": 'name = "sgd"\nlearning_rate = 0.05\nmomentum = 0.9\nweight_decay = 5e-4'}
METHODS = {"de": {}, "gradcam": {"loss": "[loss.gradcam]\nweight = 0.1"}, "ncl": {"data": "same_batch = true", "loss": "[loss.ncl]\nweight = 0.1"},
           "adp": {"data": "same_batch = true", "loss": "[loss.adp]\nweight = 0.1\nalpha = 2\nbeta = 0.5"},
           "dice": {"data": 'same_batch = true\nsampler = "class_balanced"\nsamples_per_class = 2', "training": "clip_norm = 1.0",
                    "loss": "[loss.dice]\nweight = 0.2\nramp_epochs = 2\n[discriminator]\nlearning_rate = 1e-3"},
           "oe": {"loss": f'[loss.oe]\nweight = 0.5\n[unlabelled]\ndataset = "mnist"\nsplit = "test"\nroot = "{MNIST}"\nbatch_size = {{batch}}'}}


def write_features(rows):
    """Fashion-MNIST's pixels as one of SED's HDF5 files, normalised by one mean and deviation."""
    with gzip.open(f"{FASHION}/train-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)[:rows]
    pixels = replay.idx_images(FASHION, "train")[:rows].reshape(rows, -1).astype(np.float64) / 255
    with h5py.File("features.hdf5", "w") as f:
        f["embed"] = ((pixels - pixels.mean()) / pixels.std()).astype(np.float32)
        f["label"] = labels.astype(np.float32)[:, None]
        f["index"] = np.arange(rows, dtype=np.float32)[:, None]


def cases():
    """(name, configuration, steps to trace, sources)"""
    batch, rows = (128, 3200) if LONG else (16, 400)
    write_features(rows)
    for name, optimizer in OPTIMIZERS.items():
        yield f"sed_{name}", HEADS.format(batch=batch, width="" if LONG else "hidden = 64", optimizer=optimizer), 125, ("features",)
    for model, transform, methods in (("lenet", "mnist_train", METHODS), ("resnet18_32x32", "cifar10_train", METHODS if LONG else ("gradcam",))):
        batch, each, epochs, members = (16, 25, 4, 3) if model == "lenet" else (4, 25, 4, 2) if LONG else (2, 1, 2, 2)
        for method in methods:
            given = {"data": "", "loss": "", "training": ""} | METHODS[method]
            rate = 0.05 if model == "lenet" and method not in ("gradcam", "dice") else 0.01  # at 0.05 PyTorch and itself would be far apart in f32
            text = IMAGES.format(root=FASHION, rows=batch * each, transform=transform, batch=batch, model=model, members=members, epochs=epochs, rate=rate,
                                 **(given | {"loss": given["loss"].format(batch=batch)}))
            yield f"{model}_{method}", text, 100, ("images",) + (("outliers",) if method == "oe" else ())


def run(arguments):
    done = subprocess.run([PROGRAM] + arguments, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"FAILED: dissent {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        sys.exit(1)


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    held, start = True, time.time()
    only = sys.argv[3:]
    for name, text, steps, kinds in cases():
        if only and not name.startswith(tuple(only)):
            continue
        single = LONG or name in ("sed_adamw", "sed_sgd", "lenet_gradcam", "lenet_adp")
        for precision in ("f64", "f32") if single else ("f64",):
            config = f"{name}.toml"
            pathlib.Path(config).write_text(f'experiment = "{name}_{precision}"\nseeds = [7]\noutput = "results"\n{text}')
            begin = time.time()
            run(["train", config, "--quiet", "--force", "--trace", str(steps), "--set", f"training.precision={precision}", "--set", "runtime.device=cpu"])
            trained = time.time() - begin
            trace = f"results/{name}_{precision}/seed-7/trace.h5"
            sources = replay.sources_of("features.hdf5" if "features" in kinds else None, FASHION if "images" in kinds else None,
                                        MNIST if "outliers" in kinds else None)
            held = replay.check(trace, sources) and held
            os.remove(trace)
            print(f"  {trained:.1f} s here, {time.time() - begin - trained:.1f} s there", flush=True)
    cpu = sum(os.times()[:4])
    print(f"{time.time() - start:.0f} s, {cpu:.0f} of them on a processor: {'every trace is PyTorch' + chr(39) + 's' if held else 'FAILED'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
