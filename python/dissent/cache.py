"""Feature caches: Dissent's folders (manifest.toml and shards) and SED's single HDF5 files."""
import bisect
import dataclasses
import os
import pathlib
import tomllib
from typing import Any, NamedTuple

import numpy
import torch

from ._hdf5 import open_file

_DTYPES = {"f32": "float32", "f16": "float16", "bf16": "float32"}  # the dtypes that h5py returns


class CacheRows(NamedTuple):
    """Rows of a cache, as torch tensors or numpy arrays."""

    features: Any  #: [rows, D] float32
    labels: Any    #: [rows] int64, -1 where unknown
    index: Any     #: [rows] int64, position in the source set, the same in every pass


@dataclasses.dataclass(frozen=True)
class _Shard:
    path: pathlib.Path
    first_row: int
    rows: int
    file: Any


class FeatureCache:
    """Rows [0, len(cache)) of all passes: pass k is rows k * rows_per_pass .. (k + 1) * rows_per_pass - 1. Not thread-safe.

    cache[7] is the feature and label of one row, so a cache is a map-style dataset of torch; cache[10:20] and cache.read(10, 10) are CacheRows.
    """

    def __init__(self, path: pathlib.Path, shards: list[_Shard], dim: int, passes: int, classes: int, manifest: dict[str, Any], first_index: int | None):
        self.path = path
        self.dim = dim
        self.passes = passes
        self.classes = classes    #: labels are less than this; 0 if every label is unknown
        self.manifest = manifest  #: source, trunk, transform, configuration, ... of a folder; empty for a SED file
        self._shards = shards
        self._first_rows = [shard.first_row for shard in shards]
        self._first_index = first_index

    def __len__(self) -> int:
        return self._shards[-1].first_row + self._shards[-1].rows

    @property
    def rows_per_pass(self) -> int:
        return len(self) // self.passes

    def __getitem__(self, rows: int | slice) -> Any:
        if isinstance(rows, slice):
            first, stop, step = rows.indices(len(self))
            if step != 1:
                raise ValueError(f"{self.path}: rows: expected a slice of step 1, found step {step}")
            return self.read(first, max(stop - first, 0))
        row = rows + len(self) if rows < 0 else rows
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path}: rows: expected 0 .. {len(self) - 1}, found {rows}")
        features, labels, _ = self.read(row, 1)
        return features[0], int(labels[0])

    def read(self, first: int = 0, count: int | None = None, *, numpy_arrays: bool = False) -> CacheRows:
        """Rows [first, first + count); without a count, all rows from `first`."""
        count = len(self) - first if count is None else count
        if first < 0 or count < 0 or first + count > len(self):
            raise ValueError(f"{self.path}: rows: expected a range within 0 .. {len(self) - 1}, found {first} .. {first + count - 1}")
        parts = {name: self._column(name, first, count) for name in ("embed", "label", "index")}
        index = parts["index"] if self._first_index is None else self._first_index + numpy.arange(first, first + count) % self.rows_per_pass
        arrays = CacheRows(parts["embed"].astype(numpy.float32, copy=False), parts["label"].astype(numpy.int64), index.astype(numpy.int64))
        return arrays if numpy_arrays else CacheRows(*(torch.from_numpy(array) for array in arrays))

    def _column(self, name: str, first: int, count: int) -> numpy.ndarray:
        pieces = [self._shards[0].file[name][:0]]
        at = bisect.bisect_right(self._first_rows, first) - 1
        while count > 0:
            shard = self._shards[at]
            skip = first - shard.first_row
            rows = min(count, shard.rows - skip)
            pieces.append(shard.file[name][skip:skip + rows])
            first, count, at = first + rows, count - rows, at + 1
        values = numpy.concatenate(pieces)
        return values if name == "embed" else values.reshape(-1)

    def close(self) -> None:
        for shard in self._shards:
            shard.file.close()

    def __enter__(self) -> "FeatureCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_cache(path: str | os.PathLike[str]) -> FeatureCache:
    """Opens a cache folder or one of SED's files; needs h5py.

    FileNotFoundError if it does not exist. ValueError with the file, what was expected and what was found if it is incomplete, damaged or of another shape than
    its manifest states.
    """
    place = pathlib.Path(path)
    if not place.exists():
        raise FileNotFoundError(f"{place}: expected a feature cache, found nothing of this name")
    return _open_folder(place) if place.is_dir() else _open_sed_file(place)


def _open_folder(folder: pathlib.Path) -> FeatureCache:
    path = folder / "manifest.toml"
    if not path.exists():
        partial = (folder / "manifest.toml.partial").exists()
        raise ValueError(f"{folder}: " + "expected a finished feature cache, found " + ("an incomplete one; run `dissent cache` again to resume" if partial else "no manifest.toml"))
    manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    if manifest.get("format") != "dissent-cache" or manifest.get("version") != 1:
        raise ValueError(f"{path}: expected format \"dissent-cache\" version 1, found \"{manifest.get('format')}\" version {manifest.get('version')}")
    shards = [_Shard(folder / entry["file"], entry["first_row"], entry["rows"], open_file(folder / entry["file"], "shard")) for entry in manifest["shard"]]
    for shard in shards:
        _check_shape(shard.path, shard.file, shard.rows, manifest["dim"], _DTYPES[manifest["dtype"]])
    found = sum(shard.rows for shard in shards)
    if found != manifest["rows"]:
        raise ValueError(f"{path}: expected shards of {manifest['rows']} rows together, found {found}")
    return FeatureCache(folder, shards, manifest["dim"], manifest["passes"], manifest["classes"], manifest, None)


def _open_sed_file(path: pathlib.Path) -> FeatureCache:
    """A pass begins at each row whose index is the first value again. float32 is exact up to 2^24 only, so consecutive positions are counted, not read."""
    file = open_file(path, "feature cache")
    for name in ("embed", "label", "index"):
        if name not in file:
            raise ValueError(f"{path}: expected a dataset '{name}', found none")
    rows, dim = file["embed"].shape
    _check_shape(path, file, rows, dim, file["embed"].dtype.name)
    labels, index = (_whole_numbers(path, name, file[name][()].reshape(-1)) for name in ("label", "index"))
    starts = numpy.flatnonzero(index == index[0])
    per_pass = starts[1] if len(starts) > 1 else rows
    if rows != per_pass * len(starts) or (starts != per_pass * numpy.arange(len(starts))).any():
        raise ValueError(f"{path}: index: expected passes of one length, found restarts at rows {starts[:8].tolist()} of {rows}")
    counted = index[0] + numpy.arange(rows) % per_pass
    counts_up = (index == counted.astype(file["index"].dtype)).all()
    if not counts_up and file["index"].dtype == numpy.float32 and index.max() >= 2**24:
        raise ValueError(f"{path}: index: expected consecutive positions or values below 2^24, where float32 is exact, found {index.max():.0f}")
    return FeatureCache(path, [_Shard(path, 0, rows, file)], dim, len(starts), int(labels.max()) + 1, {}, int(index[0]) if counts_up else None)


def _check_shape(path: pathlib.Path, file: Any, rows: int, dim: int, dtype: str) -> None:
    if file["embed"].shape != (rows, dim) or file["embed"].dtype.name != dtype:
        raise ValueError(f"{path}: embed: expected [{rows}, {dim}] {dtype}, found {list(file['embed'].shape)} {file['embed'].dtype}")
    for name in ("label", "index"):
        if file[name].shape not in ((rows,), (rows, 1)):
            raise ValueError(f"{path}: {name}: expected [{rows}] or [{rows}, 1], found {list(file[name].shape)}")


def _whole_numbers(path: pathlib.Path, name: str, values: numpy.ndarray) -> numpy.ndarray:
    values = values.astype(numpy.float64)
    broken = ~(numpy.isfinite(values) & (numpy.floor(values) == values))
    if broken.any():
        row = int(broken.argmax())
        raise ValueError(f"{path}: {name} of row {row}: expected a whole number, found {values[row]}")
    return values
