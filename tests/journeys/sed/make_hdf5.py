#!/usr/bin/env python3
"""make_hdf5.py CACHED: next to each cache below this folder a file in SED's layout and by its name, with the same features.

embed f32 [N, D], label and index f32 [N, 1]. iNaturalist and OpenImages have the label 0 there (their only folder, the default of a list), -1 in caches.
"""
import hashlib
import pathlib
import sys

import h5py
import numpy as np


def main():
    cached = pathlib.Path(sys.argv[1])
    for cache in sorted(cached.rglob("*.cache")):
        parts = {"embed": [], "label": [], "index": []}
        for shard in sorted(cache.glob("shard-*.h5")):
            with h5py.File(shard) as file:
                for key, pieces in parts.items():
                    pieces.append(file[key][()])
        values = {key: np.concatenate(pieces).astype(np.float32) for key, pieces in parts.items()}
        target = cache.with_suffix(".hdf5")
        if cache.parent != cached:  # brightness_1/deit3b_-1.cache: Brightness_1/<hash>_.._samples.hdf5
            name = "JPEG Compression" if cache.parent.name.startswith("jpeg") else cache.parent.name.rsplit("_", 1)[0].replace("_", " ").title()
            name += "_" + cache.parent.name.rsplit("_", 1)[1]
            digest = hashlib.sha256(name.encode()).hexdigest()[:20]
            target = cached / name / f"{digest}_torch_load_block_-1_model_{name}_dataset_1_epochs_{len(values['label'])}_samples.hdf5"
            target.parent.mkdir(exist_ok=True)
        with h5py.File(target, "w") as file:
            file["embed"] = values["embed"]
            file["label"] = np.maximum(values["label"], 0)[:, None]
            file["index"] = values["index"][:, None]


if __name__ == "__main__":
    main()
