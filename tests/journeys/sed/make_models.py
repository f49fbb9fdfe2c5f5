#!/usr/bin/env python3
"""make_models.py EXPORTED=NAME ... --to FOLDER: pickles as SED published its models, of the weights that `dissent export` wrote.

Each EXPORTED folder (ensemble.json, member-N.safetensors of block heads) becomes FOLDER/NAME.pkl: a RedneckEnsemble of TimmVitFinalLayers with a soup, of
classes that have the modules and names of the release and no longer exist when the file is read.
"""
import argparse
import json
import pathlib
import struct
import sys
import types

import torch


def release_class(module, name, bases=(torch.nn.Module,)):
    """A class that pickles by a module and name of the release."""
    made = type(name, bases, {"__module__": module, "__qualname__": name})
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:depth]), types.ModuleType(".".join(parts[:depth])))
    setattr(sys.modules[module], name, made)
    return made


Ensemble = release_class("diverse_universe.local_models.ensemble", "RedneckEnsemble")
FinalLayers = release_class("diverse_universe.local_models.common", "TimmVitFinalLayers")
Mlp = release_class("timm.layers.mlp", "Mlp")
DropPath = release_class("timm.layers.drop", "DropPath")


def read_safetensors(path):
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32", f"{path}: {name} is {entry['dtype']}"
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = torch.frombuffer(bytearray(content[begin:end]), dtype=torch.float32).reshape(entry["shape"])
    return tensors


def member_of(tensors):
    hidden, dim = tensors["mlp.fc1.weight"].shape
    member = FinalLayers()
    member.gamma_2 = torch.nn.Parameter(torch.empty(dim))
    member.drop_path = DropPath()
    member.mlp = Mlp()
    member.mlp.fc1, member.mlp.act, member.mlp.fc2 = torch.nn.Linear(dim, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, dim)
    member.norm2, member.norm = torch.nn.LayerNorm(dim, eps=1e-6), torch.nn.LayerNorm(dim, eps=1e-6)
    member.head = torch.nn.Linear(dim, tensors["head.weight"].shape[0])
    member.load_state_dict(tensors)
    return member


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ensembles", nargs="+", metavar="EXPORTED=NAME")
    parser.add_argument("--to", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    for pair in options.ensembles:
        folder, name = pair.split("=")
        files = json.loads((pathlib.Path(folder) / "ensemble.json").read_text())["files"]
        states = [read_safetensors(pathlib.Path(folder) / file) for file in files]
        ensemble = Ensemble()
        ensemble.submodels = torch.nn.ModuleList([member_of(state) for state in states])
        ensemble.soup = member_of({key: torch.stack([state[key] for state in states]).mean(0) for key in states[0]})
        ensemble.weights = torch.full((len(files),), len(files) ** -0.5)
        ensemble.softmax = torch.nn.Softmax(dim=-1)
        ensemble.n_models, ensemble.random_select, ensemble.feature_extractor = len(files), 2, None
        torch.save(ensemble, options.to / f"{name}.pkl")


if __name__ == "__main__":
    main()
