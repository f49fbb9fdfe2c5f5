#!/usr/bin/env python3
"""tests/fuzz/make_corpus.py [FOLDER]: writes the seeds of tests/fuzz/corpus, FOLDER/PARSER/seed_*. Inputs of faults that were found are next to them, under
other names. Files that go through HDF5 are not among them: their seeds are written by the targets. Needs numpy, torch, and Pillow for pictures."""
import collections
import gzip
import io
import json
import pathlib
import pickle
import struct
import sys

import numpy
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

TOML = {
    "all": b'''include = []
experiment = "name \\u00e9 \\"q\\""
seeds = [1, 2, 3]
[variables]
root = "/data"
n = 3
[training]
epochs = 11
learning_rate = 1e-3
precision = "bf16"
nesterov = true
threads = "auto"
milestones = [1, 2.5, inf]
metrics = ["accuracy", "auroc"]
offset = -0x1F
[loss.a2d]
weight = 0.5
sample_weight = 'hard'
[loss.entropy]
[[evaluate.sets]]
name = "${root}/c ${n}"
shift = "near"
[[evaluate.sets]]
name = """a
b"""
workers = 4
''',
    "inline": b'training = {epochs = 3, offset = nan}\nloss.a2d.weight = 2\nevaluate.sets = [{name = "a"}, {name = \'\'\'b\'\'\', workers = 1_000}]\n# note\n',
    "wrong": b'seeds = [1, "a", 2020-01-01T00:00:00Z, {}]\n[trainig]\nepochs = 1979-05-27\n"a b".c = [[[1]]]\n[loss]\na2d = false\n',
    "include": b'include = ["a.toml", "b.toml"]\n',
}
SET_OPTION = {
    "some": b'training.epochs=3\nloss.a2d.weight=0.5\nloss.entropy=true\ntraining.precision=bf16\nevaluate.sets=[{name="a=b"}]\nvariables.a="x"\n"a=b".c=1\nseeds=[1,2]\n'
}
COLUMNS = "experiment,run,config_hash,seed,method,members,predictor,dataset,split,shift,score,metric,convention,fidelity,value,n"
RESULT_CSV = {
    "plain": f"{COLUMNS},evaluation,training_hash\ne,seed-1,0123,1,a2d,5,ensemble,mnist,test,id,,accuracy,,own,0.5,100,v,4567\n"
    'e,seed-1,0123,1,a2d,5,member:3,"a, ""b""\nc",test,far,msp,auroc,openood,own,nan,100,v,4567\n'.encode(),
    "old": f"\ufeff{COLUMNS}\r\ne,r,h,-1,m,0,soup,d,s,id,,brier,sdde,,1e-300,9223372036854775807\r\n".encode(),
}
FIGURE_CSV = {
    "bins": b"kind,series,x,y,low,high,weight\nreliability,ensemble,0.05,0.1,0,0.1,0.25\nreliability,ensemble,0.95,0.9,0.9,1,0.75\n",
    "roc": b'weight,y,x,series,kind\n,0,0,"a, b",roc\n,1,1,"a, b",roc\n',
    "curve": b"kind,series,x,y,low,high\ncurve,a,1,2,1.5,2.5\ncurve,a,2,inf,,\n",
}
SHEET = {
    "grid": b'name,verb,config,ranks,enabled,set:training.epochs,set:seeds,slurm:time,after,note\n,train,configs/{a | b}.toml,{1..2},1,{10..30..10},"[1, 2]",01:00:00,,free\n'
    b'eval-{ranks},evaluate,configs/e.toml,{1..2},yes,,,,train-a,{{x}}\n',
    "plain": b"\xef\xbb\xbfverb,config,whether_to_run,,\r\ntrain,a.toml,1,,\r\n,,,,\r\ncache,b.toml,0,,\r\n",
}
SED_SHEET = {
    "training": b"path_to_main,path_to_default_config,whether_to_run,delta:trainer/epochs,delta:paths/x\n./src/training.py,./cfg/training/ood_gen/a2d.yaml,1,10,a__COMMA__b\n",
    "caching": b"path_to_main,path_to_default_config,whether_to_run,delta:cache_save_path\n./src/caching.py,./cfg/caching/imagenet_train.yaml,1,EMPTY_STRING\n",
    "evaluation": b"path_to_main,path_to_default_config,whether_to_run,delta:eval_type,delta:seeds\n./src/evaluation.py,./cfg/evaluation.yaml,0,ood_gen,[1 2]\n",
}
PROCESS = {"host": "node1", "pid": 123, "started": 456}
STOP = {"code": 3, "reason": "failed", "message": "a: b", "wall_s": 1.5, "time": 2e9, "is_final": True}
JOB_STATE = {
    "attempt": json.dumps({"number": 1, "key": "train-01", "name": "a", "verb": "train", "sheet": "/s.csv", "directory": "/", "command": ["train", "a.toml"],
                           "runs": ["r"], "inputs": [], "after": [], "ranks": 2, "threads": 1, "gpus": 0, "retries": 2, "stage": False, "again": False,
                           "backend": "slurm", "batch": "b", "index": 4, "by": PROCESS, "time": 1.5e9}, indent=1).encode(),
    "start": json.dumps({"by": PROCESS, "time": 1.5e9, "slurm_job": "12_3", "epoch": 3, "err_offset": 10, "abandoned": False}).encode(),
    "stop": json.dumps(STOP).encode(),
    "beat": json.dumps({"by": PROCESS, "time": 1.5e9, "restart": 1, "stop": STOP}).encode(),
    "submitted": b'"123_4"\n',
}
JOB_NAMES = {"some": b"attempt.1\nstart.1.0\nstart.1.1\nstop.1.0\nbeat.1\nsubmitted.1\nagain.1\noff-0123.1\nattempt.2.tmp\n"}
RUN_FOLDER = {
    "progress": b'{"epoch": 3, "epochs": 10, "steps": 100, "time": 1.5}',
    "provenance": b'{"state": "failed", "error": "a.toml:1: b"}',
    "train": b"epoch,loss,accuracy\n0,1.5,0.25\n1,1.25,0.5\n",
    "heartbeat": b"1500000000.5 3 20 node1 training\n",
    "log": b"[info] a\ndissent: a.toml: expected b, found c\n---\nsrun: level=info\n",
}
BATCH = {"two": json.dumps([{"folder": "/s/train-01", "attempt": 1}, {"folder": "/s/train-02", "attempt": 3}]).encode()}
IMAGE_LIST = {
    "plain": b"a/b.png 0\na/c d.jpg 7\n\nx.png -1\n",
    "windows": b"a\\b.png 1\r\nb.png 2 \r\n",
    "mark": b"\xef\xbb\xbfa.png 3\n",
    "absolute": b"/data/a.png 9\n/data/b.png 4294967297\n",
}
ROW_RANGE = {"head": b":2", "tail": b"-2:", "both": b"0:1", "all": b""}


def idx(shape):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + bytes(range(numpy.prod(shape) % 256))


def npy(values, **options):
    out = io.BytesIO()
    numpy.lib.format.write_array(out, values, **options)
    return out.getvalue()


def cifar_pickle(protocol, labels):
    return pickle.dumps({b"batch_label": b"test", b"labels": labels, b"data": (numpy.arange(2 * 3072) % 251).astype("uint8").reshape(2, 3072), b"filenames": [b"a", b"b"]}, protocol)


def saved(value, **options):
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def safetensors(entries, values, size=None):
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header) if size is None else size) + header + values


def picture(mode, form, **options):
    values = numpy.random.default_rng(0).integers(0, 255, (9, 11, 4), dtype="uint8")
    image = Image.fromarray(values, "RGBA")
    image = image.convert("RGB").convert(mode) if mode not in ("RGBA", "I;16", "LA") else image.convert("L").convert("I;16") if mode == "I;16" else image.convert(mode)
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def pickles_of(*values):
    """data.pkl of what torch.save writes."""
    import zipfile
    for value in values:
        with zipfile.ZipFile(io.BytesIO(saved(value))) as archive:
            yield archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def corpora():
    for name, seeds in (("toml", TOML), ("set_option", SET_OPTION), ("result_csv", RESULT_CSV), ("figure_csv", FIGURE_CSV), ("sheet", SHEET), ("sed_sheet", SED_SHEET),
                        ("job_state", JOB_STATE), ("job_names", JOB_NAMES), ("run_folder", RUN_FOLDER), ("batch", BATCH), ("image_list", IMAGE_LIST), ("row_range", ROW_RANGE)):
        yield name, seeds
    yield "idx", {"images": idx((3, 4, 5)), "labels": idx((7,)), "gzip": gzip.compress(idx((2, 3, 3)), mtime=0)}
    yield "npy", {"u8": npy(numpy.zeros((3, 2, 2), "uint8")), "i64": npy(numpy.arange(4)), "i32": npy(numpy.arange(3, dtype="int32"), version=(2, 0)),
                  "fortran": npy(numpy.asfortranarray(numpy.zeros((3, 2), "uint8"))), "f32": npy(numpy.zeros(3, "float32"))}
    binary = (numpy.arange(2 * 3073) % 253).astype("uint8").reshape(2, 3073)
    binary[:, 0] = 3
    yield "cifar", {"binary": binary.tobytes(), "protocol2": cifar_pickle(2, [3, 4]), "protocol5": cifar_pickle(5, [3, 4]), "array": cifar_pickle(4, numpy.array([3, 4]))}
    state = collections.OrderedDict(weight=torch.arange(6.0).reshape(2, 3).T, bias=torch.zeros(4, dtype=torch.int64))
    network = torch.nn.Linear(2, 3)
    torch.nn.init.zeros_(network.weight), torch.nn.init.zeros_(network.bias)
    yield "torch_zip", {"state": saved(state), "nested": saved({"state_dict": {"a": torch.zeros(2, dtype=torch.bfloat16)}, "epoch": 3, "args": ["a", None, True, 1.5]})}
    yield "torch_pickle", {str(i): data for i, data in enumerate(pickles_of(state, network.state_dict(), {"net": {"a": torch.zeros(2, dtype=torch.half)}, "epoch": 3, "x": {1, 2}, "y": (1, 2.5, "c", None)}))}
    yield "safetensors", {
        "two": safetensors({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}, "b": {"dtype": "I64", "shape": [], "data_offsets": [8, 16]}}, bytes(16)),
        "empty": safetensors({"a": {"dtype": "BF16", "shape": [0, 3], "data_offsets": [0, 0]}}, b""),
        "fp8": safetensors({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}, "b": {"dtype": "U16", "shape": [2], "data_offsets": [4, 8]}}, bytes(8)),
    }
    yield "png", {mode.lower().replace(";", ""): picture(mode, "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")}
    yield "jpeg", {"rgb": picture("RGB", "JPEG", quality=80), "grey": picture("L", "JPEG", quality=50), "cmyk": picture("CMYK", "JPEG", quality=50),
                   "progressive": picture("RGB", "JPEG", quality=60, progressive=True), "restart": picture("RGB", "JPEG", quality=60, restart_marker_blocks=1)}


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "tests/fuzz/corpus")
    total = 0
    for name, seeds in corpora():
        (out / name).mkdir(parents=True, exist_ok=True)
        for seed, content in seeds.items():
            (out / name / f"seed_{seed}").write_bytes(content)
            total += len(content)
    print(f"{out}: {total} bytes of seeds")


if __name__ == "__main__":
    main()
