"""h5py, imported when a file is opened."""
import pathlib
from typing import Any


def open_file(path: pathlib.Path, what: str) -> Any:
    """The HDF5 file, for reading."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"dissent: reading a {what} needs h5py: pip install h5py") from error
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such {what}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: {error}") from error
