"""Loads the compiled operators. There is nothing to fall back to: without them, or with another torch than theirs, the import fails."""
import importlib.util
import pathlib
import types

import torch

_FOLDER = pathlib.Path(__file__).resolve().parent
_HOW = "Install the package anew, which takes a minute: pip install ./python (from the top of the project's tree)."


def _check_version() -> None:
    if importlib.util.find_spec("dissent._build") is None:
        raise ImportError(f"dissent: {_FOLDER / '_build.py'}, which says for which torch the operators were compiled, is not there. {_HOW}")
    from ._build import TORCH_VERSION

    found = torch.__version__.split("+")[0]
    if found != TORCH_VERSION:
        raise ImportError(f"dissent: its operators were compiled for torch {TORCH_VERSION}, the torch that is installed is {found}. {_HOW}")


def _load() -> types.ModuleType:
    libraries = sorted(_FOLDER.glob("_library.*so"))
    if not libraries:
        raise ImportError(f"dissent: its compiled operators ({_FOLDER / '_library.abi3.so'}) are not there. {_HOW}")
    _check_version()
    try:
        torch.ops.load_library(str(libraries[0]))
    except OSError as error:
        raise ImportError(f"dissent: its compiled operators cannot be loaded: {error}. {_HOW}") from error
    return torch.ops.dissent


operators = _load()
