"""h5py, imported when a file is opened."""
import pathlib
from typing import Any


def plain(value: Any) -> Any:
    """An attribute as an int, a float or a str: texts of fixed length, as the program writes them, come as bytes."""
    value = value.item() if hasattr(value, "item") else value
    return value.decode("utf-8") if isinstance(value, bytes) else value


def open_file(path: pathlib.Path, what: str) -> Any:
    """The HDF5 file, for reading."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"dissent: reading a {what} needs h5py: pip install h5py") from error
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected a {what}, found nothing of this name")
    if not path.is_file():  # a FIFO would be waited for
        raise ValueError(f"{path}: expected a file, found something else")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: expected a {what} in HDF5, found another or a damaged file ({str(error).splitlines()[0]})") from error
