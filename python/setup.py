"""Compiles the operators of the Python package from the project's own sources.

In the project's tree the sources are first copied into native/, which is part of a source distribution, so that the distribution builds without the tree.
They are compiled as three units, about a minute. The version of torch is written into dissent/_build.py, and the package requires that version.
"""
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

from setuptools import setup

HERE = pathlib.Path(__file__).resolve().parent
NATIVE = HERE / "native"
CORE = ("error.cpp", "random.cpp", "random.hpp", "options.cpp", "options.hpp", "shapes.hpp", "prelude.hpp", "tensor_check.hpp", "pair_information.hpp", "option_page.hpp", "option_page.cpp", "option_table.hpp", "enum_names.hpp")


def find_torch():
    """pip builds in an isolated environment, which hides the torch of the environment that it installs into. The operators are compiled for that torch."""
    if importlib.util.find_spec("torch") is not None:
        return
    # The interpreter as the user starts it: with site-packages, user site-packages and .pth files. PYTHONPATH was set by the build.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONNOUSERSITE")}
    for python in dict.fromkeys([sys.executable, getattr(sys, "_base_executable", sys.executable)]):
        found = subprocess.run([python, "-c", "import json, sys, torch; print(json.dumps([sys.path, torch.__file__]))"],
                               capture_output=True, text=True, env=environment, cwd="/")
        if found.returncode == 0:
            path, torch_file = json.loads(found.stdout.splitlines()[-1])
            sys.path += [entry for entry in path if entry and entry not in sys.path]
            importlib.invalidate_caches()
            print(f"dissent: compiling for {torch_file}")
            return
    reason = (found.stderr.strip().splitlines() or ["nothing"])[-1]
    sys.exit(f"dissent: torch: expected the torch that `{sys.executable} -c 'import torch'` finds, found: {reason}. Install torch first; where it is found by "
             "PYTHONPATH alone, which pip hides from builds: pip install setuptools wheel, then pip install --no-build-isolation ./python")


def copy_sources(tree):
    """Makes native/ from the project's tree: losses, public headers, the parts of core that they need, licence and version."""
    shutil.rmtree(NATIVE, ignore_errors=True)
    shutil.copytree(tree / "include" / "dissent", NATIVE / "include" / "dissent")
    shutil.copytree(tree / "src" / "losses", NATIVE / "src" / "losses")
    (NATIVE / "src" / "core").mkdir()
    for name in CORE:
        shutil.copy2(tree / "src" / "core" / name, NATIVE / "src" / "core" / name)
    shutil.copy2(tree / "LICENSE", NATIVE / "LICENSE")
    lines = (tree / "CMakeLists.txt").read_text().splitlines()
    (NATIVE / "VERSION").write_text(next(line for line in lines if line.startswith("project(")).split("VERSION ")[1].split()[0] + "\n")
    sources = sorted(path.relative_to(NATIVE / "src") for folder in ("core", "losses") for path in (NATIVE / "src" / folder).glob("*.cpp"))
    includes = [f'#include "{path.as_posix()}"\n' for path in sources]
    (NATIVE / "library.cpp").write_text("// All sources as one unit.\n" + '#include "core/prelude.hpp"\n' + "".join(includes))


def operators():
    from torch.utils.cpp_extension import CppExtension

    return CppExtension(
        "dissent._library", ["csrc/operators.cpp", "csrc/loss_operators.cpp", "native/library.cpp"], py_limited_api=True,
        include_dirs=[str(NATIVE / "src"), str(NATIVE / "include")], define_macros=[("FMT_HEADER_ONLY", "1")],
        extra_compile_args=["-std=c++20", "-O2", "-g0", "-fvisibility=hidden", "-Wno-unknown-pragmas"])


def build_command():
    from torch.utils.cpp_extension import BuildExtension

    class Build(BuildExtension):
        def run(self):
            super().run()
            folders = {pathlib.Path(self.get_ext_fullpath("dissent._library")).parent}
            if getattr(self, "editable_mode", False):
                folders.add(HERE / "dissent")
            for folder in folders:
                (folder / "_build.py").write_text(f'"""Written when the operators were compiled."""\n\nTORCH_VERSION = "{torch_version()}"\n')

    return Build


def torch_version():
    """The version without its local part: 2.11.0 for 2.11.0+cu130. The operators link only libraries that all variants of a version have."""
    import torch

    return torch.__version__.split("+")[0]


find_torch()
if (HERE.parent / "src" / "losses").is_dir():
    copy_sources(HERE.parent)
elif not NATIVE.is_dir():
    sys.exit(f"dissent: sources: expected the project's tree around {HERE} or {NATIVE}, found neither")

setup(
    version=(NATIVE / "VERSION").read_text().strip(),
    install_requires=[f"torch=={torch_version()}", "numpy"],
    ext_modules=[operators()],
    cmdclass={"build_ext": build_command()},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
