"""Loads the compiled operators. There is no fallback: without them, or with another version of torch, the import fails."""
import importlib.util
import pathlib
import types

import torch

_FOLDER = pathlib.Path(__file__).resolve().parent
_HOW = "Reinstall the package, which takes a minute: pip install ./python (from the top of the project's tree)."


def _check_version() -> None:
    if importlib.util.find_spec("dissent._build") is None:
        raise ImportError(f"dissent: {_FOLDER / '_build.py'}: expected the version of torch that the operators were compiled for, found no such file. {_HOW}")
    from ._build import TORCH_VERSION

    found = torch.__version__.split("+")[0]
    if found != TORCH_VERSION:
        raise ImportError(f"dissent: torch: expected version {TORCH_VERSION}, for which the operators were compiled, found {found}. {_HOW}")


def _load() -> types.ModuleType:
    libraries = sorted(_FOLDER.glob("_library.*so"))
    if not libraries:
        raise ImportError(f"dissent: {_FOLDER / '_library.abi3.so'}: expected the compiled operators, found no such file. {_HOW}")
    _check_version()
    try:
        torch.ops.load_library(str(libraries[0]))
    except OSError as error:
        raise ImportError(f"dissent: compiled operators: expected a library that can be loaded, found: {error}. {_HOW}") from error
    return torch.ops.dissent


operators = _load()
