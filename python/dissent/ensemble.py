"""Trained ensembles: the checkpoint of a run."""
import dataclasses
import os
import pathlib
import tomllib
from typing import Any

import torch
from torch import Tensor

from ._hdf5 import open_file, plain
from .heads import Heads


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """The members in a checkpoint, and its configuration."""

    path: pathlib.Path
    run: str                         #: name of the run's folder
    config: dict[str, Any]           #: the resolved configuration
    config_text: str                 #: the same as TOML
    config_hash: str
    progress: dict[str, Any]         #: epoch, step, seed, dim, classes, ...
    parameters: dict[str, Tensor]    #: by name, stacked: [M, ...]

    @property
    def members(self) -> int:
        return len(next(iter(self.parameters.values())))

    @property
    def soup(self) -> dict[str, Tensor]:
        """The mean of the members, as one member: [1, ...]."""
        return {name: values.mean(0, keepdim=True) for name, values in self.parameters.items()}

    def module(self, parameters: dict[str, Tensor] | None = None) -> Heads:
        """Module with the members' parameters (or others of the same names: ensemble.soup), features [B, D] -> logits [M, B, C]."""
        return Heads(self.config["ensemble"]["model"], self.parameters if parameters is None else parameters)


def load_ensemble(path: str | os.PathLike[str]) -> Ensemble:
    """Reads a run folder (its checkpoint.h5) or a checkpoint file; needs h5py. FileNotFoundError if it does not exist, ValueError if it is not a checkpoint."""
    place = pathlib.Path(path)
    place = place / "checkpoint.h5" if place.is_dir() else place
    with open_file(place, "checkpoint") as file:
        if plain(file.attrs.get("format")) != "dissent-checkpoint":
            raise ValueError(f"{place}: expected a checkpoint of format \"dissent-checkpoint\", found {plain(file.attrs.get('format'))!r}")
        if file.attrs["version"] not in (1, 2):
            raise ValueError(f"{place}: expected a checkpoint of version 1 or 2, found version {file.attrs['version']}")
        text = file["config"].asstr()[()]
        progress = {key: plain(value) for key, value in file["progress"].attrs.items()}
        parameters = {name: torch.from_numpy(values[()]) for name, values in sorted(file["members"].items())}
        return Ensemble(path=place, run=place.absolute().parent.name, config=tomllib.loads(text), config_text=text,
                        config_hash=plain(file["config"].attrs["hash"]), progress=progress, parameters=parameters)
