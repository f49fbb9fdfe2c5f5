"""Loads the compiled operators. There is no fallback: without them, or with another version of torch, the import fails."""
import importlib.util
import pathlib
import types

import torch

_FOLDER = pathlib.Path(__file__).resolve().parent
_HOW = "Reinstall the package, which takes a minute: pip install ./python (from the top of the project's tree)."


def _check_version() -> None:
    if importlib.util.find_spec("dissent._build") is None:
        raise ImportError(f"dissent: {_FOLDER / '_build.py'}, which names the torch version of the compiled operators, does not exist. {_HOW}")
    from ._build import TORCH_VERSION

    found = torch.__version__.split("+")[0]
    if found != TORCH_VERSION:
        raise ImportError(f"dissent: expected torch {TORCH_VERSION}, for which the operators were compiled, found torch {found}. {_HOW}")


def _load() -> types.ModuleType:
    libraries = sorted(_FOLDER.glob("_library.*so"))
    if not libraries:
        raise ImportError(f"dissent: {_FOLDER / '_library.abi3.so'}: the compiled operators were not found. {_HOW}")
    _check_version()
    try:
        torch.ops.load_library(str(libraries[0]))
    except OSError as error:
        raise ImportError(f"dissent: the compiled operators cannot be loaded: {error}. {_HOW}") from error
    return torch.ops.dissent


operators = _load()
