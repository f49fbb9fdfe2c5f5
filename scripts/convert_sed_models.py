#!/usr/bin/env python3
"""scripts/convert_sed_models.py FILE ... --to FOLDER [--whole]: weights of SED's and SDDE's checkpoints as safetensors.

SED's models (models/symlinked/*.pkl) are whole objects: reading them asks for SED's code. Here no class of theirs is needed and none of their
code runs: objects of unknown classes become stubs that only hold their attributes, and the names of the weights follow from these, as
state_dict gives them. SDDE's checkpoints (state dicts of an ensemble) and other state dicts are read too.

An ensemble (SED: submodels.N, SDDE and OpenOOD: nets.N) becomes one file a member, FOLDER/STEM/member-N.safetensors, with the names that a member
has for itself, what is beside the members (soup, feature extractor, multihead's backbone) in rest.safetensors; anything else FOLDER/STEM.safetensors. --whole: always one file.
The metadata of each file say where it came from. Files of torch.save (new and old layout) and of pickle. Calls of a function that is not on the
list ALLOWED are refused, with its name. Needs PyTorch. Exit codes: 2 wrong usage, 3 a file that cannot be read.
"""
import argparse
import collections
import ctypes
import io
import json
import pathlib
import pickle
import re
import struct
import sys
import zipfile

import torch

WRAPPED, INNER = "ModuleDelegatingWrapper_custom_attrs", "ModuleDelegatingWrapper_inner_object"  # of SED's wrappers around a member
MEMBERS = re.compile(r"^(?:module\.)?(?:submodels|nets)\.(\d+)\.(.+)$")
CONTAINERS = ("state_dict", "model", "model_state_dict", "net")  # where checkpoints keep their weights
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
          torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
STORAGES = {"DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
            "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
            "BoolStorage": torch.bool, "UntypedStorage": torch.uint8}


class Refused(Exception):
    """What a file wants and is not given, or why it cannot be read."""


class StubType(type):
    """The type of stub classes. An object of one is made without a call; a call would run somebody's code, so it is refused."""

    def __call__(cls, *arguments, **options):
        raise Refused(f"wants to call {cls.__module__}.{cls.__qualname__}, which is not on the list of allowed ones")


class Stub(metaclass=StubType):
    """An object whose class is not known: attributes, and items where it is a kind of dict or list."""

    def __new__(cls, *arguments, **options):
        return object.__new__(cls)

    def __setstate__(self, state):
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(part, dict):
                self.__dict__.update({str(name): value for name, value in part.items()})

    def __setitem__(self, key, value):
        self.__dict__.setdefault("stub_items", {})[key] = value

    def append(self, value):
        self.__dict__.setdefault("stub_list", []).append(value)

    def extend(self, values):
        self.__dict__.setdefault("stub_list", []).extend(values)

    add = append


def stub_class(module, name):
    return StubType(name, (Stub,), {"__module__": module, "__qualname__": name})


def inert(module, name):
    """Stands in for a callable whose result carries no weights: an object that is nothing."""
    cls = stub_class(module, name)
    return lambda *arguments, **options: object.__new__(cls)


def rebuild_tensor(storage, offset, size, stride, *unused):
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def rebuild_parameter(data, *unused):
    return data


def load_from_bytes(content):
    """A storage inside of a plain pickle: a file of torch.save of its own, which PyTorch's reader for weights alone may read."""
    storage = torch.load(io.BytesIO(content), weights_only=True)
    return torch.tensor([], dtype=storage.dtype).set_(storage)


ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): load_from_bytes,
    ("torch", "Size"): tuple,
    **{("builtins", kind.__name__): kind for kind in (set, frozenset, list, dict, tuple, int, float, bool, str, complex, slice, range, bytearray)},
    **{name: inert(*name) for name in (("functools", "partial"), ("builtins", "getattr"), ("torch", "device"), ("torch", "Generator"), ("_codecs", "encode"),
                                       ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"), ("numpy", "dtype"),
                                       ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"), ("pathlib", "PosixPath"))},
}


class Reader(pickle.Unpickler):
    """Reads a pickle with stubs; `storage(dtype, key, count)` gives the elements of a storage of torch.save, [count]."""

    def __init__(self, file, storage=None):
        super().__init__(file, encoding="utf-8")
        self.storage = storage

    def find_class(self, module, name):
        module = {"__builtin__": "builtins"}.get(module, module)
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        return stub_class(module, name)

    def persistent_load(self, identity):
        kind = identity[0]
        if kind == "module" and len(identity) == 4:  # of old files: a class with its source text
            return identity[1]
        if kind != "storage" or self.storage is None:
            raise Refused(f"holds a reference of an unknown kind: {kind}")
        return self.storage(identity[1], str(identity[2]), identity[4])


def read_archive(path):
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise Refused("a zip archive, but none of torch.save")
        folder, storages = names[0].removesuffix("data.pkl"), {}

        def storage(dtype, key, count):
            if key not in storages:
                content = bytearray(archive.read(f"{folder}data/{key}"))
                storages[key] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            return storages[key].view(dtype)[:count]

        return Reader(io.BytesIO(archive.read(names[0])), storage).load()


def read_legacy(file):
    """After magic number, version and machine: the object, the keys of its storages, then these in that order."""
    storages = {}

    def storage(dtype, key, count):
        return storages.setdefault(key, torch.empty(count, dtype=dtype))

    Reader(file).load(), Reader(file).load()
    value = Reader(file, storage).load()
    for key in Reader(file).load():
        elements = storages[str(key)]
        count = struct.unpack("<q", file.read(8))[0]
        content = file.read(count * elements.element_size())
        if count != elements.numel() or len(content) != count * elements.element_size():
            raise Refused(f"truncated: storage {key} has {count} of {elements.numel()} elements, {len(content)} bytes")
        if count:
            elements.copy_(torch.frombuffer(bytearray(content), dtype=elements.dtype))
    return value


def read_object(path):
    try:
        if zipfile.is_zipfile(path):
            return read_archive(path)
        with open(path, "rb") as file:
            first = Reader(file).load()
            return read_legacy(file) if first == LEGACY_MAGIC else first
    except Refused:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise Refused(f"damaged, or not of torch.save or pickle: {type(error).__name__}: {error}") from error


def is_module(value):
    return isinstance(value, Stub) and (WRAPPED in vars(value) or "_parameters" in vars(value) and "_modules" in vars(value))


def module_weights(module, prefix=""):
    """(name, tensor) as state_dict has them: parameters, buffers that are kept, then those of the modules inside."""
    attributes = vars(module)
    if WRAPPED in attributes:
        yield from module_weights(attributes[WRAPPED][INNER], prefix)
        return
    left_out = attributes.get("_non_persistent_buffers_set", ())
    for name, value in list(attributes["_parameters"].items()) + [item for item in attributes.get("_buffers", {}).items() if item[0] not in left_out]:
        if value is not None:
            yield prefix + name, value
    for name, inner in attributes["_modules"].items():
        if inner is not None:
            yield from module_weights(inner, f"{prefix}{name}.")


def weights_of(value):
    """The weights in what a file holds, by name, and what that is."""
    if is_module(value):
        inner = vars(value).get(WRAPPED, {}).get(INNER, value)
        return dict(module_weights(value)), f"{type(inner).__module__}.{type(inner).__qualname__}"
    if isinstance(value, dict):
        tensors = {name: tensor for name, tensor in value.items() if isinstance(tensor, torch.Tensor)}
        if tensors:
            return tensors, "state dict"
        for key in CONTAINERS:
            if is_module(value.get(key)) or isinstance(value.get(key), dict):
                return weights_of(value[key])
        raise Refused(f"a dict without weights; it has {', '.join(map(str, list(value)[:12]))}")
    raise Refused(f"holds neither a module nor a state dict, but {type(value).__name__}")


def write_safetensors(path, weights, metadata):
    header, place = {"__metadata__": metadata}, 0
    for name, tensor in weights.items():
        if tensor.dtype not in DTYPES:
            raise Refused(f"{name}: values of type {tensor.dtype} have no place in safetensors")
        end = place + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in weights.values():
            file.write(bytes_of(tensor))
    part.replace(path)


def bytes_of(tensor):
    """The values of a tensor as they lie in memory; without numpy, which PyTorch does not bring."""
    values = tensor.detach().cpu().contiguous()
    return ctypes.string_at(values.data_ptr(), values.numel() * values.element_size()) if values.numel() else b""


def convert(path, folder, whole):
    value = read_object(path)
    weights, kind = weights_of(value)
    metadata = {"format": "pt", "source": path.name, "class": kind}
    if is_module(value) and isinstance(vars(value).get("weights"), torch.Tensor):
        metadata["ensemble_weights"] = json.dumps(vars(value)["weights"].tolist())
    members, rest = {}, {}
    for name, tensor in weights.items():
        found = None if whole else MEMBERS.match(name)
        target = members.setdefault(int(found[1]), {}) if found else rest
        target[found[2] if found else name] = tensor
    if not members:
        write_safetensors(folder / f"{path.stem}.safetensors", weights, metadata)
        print(f"{path}: {kind}, {len(weights)} tensors -> {folder / path.stem}.safetensors")
        return
    for number, tensors in sorted(members.items()):
        write_safetensors(folder / path.stem / f"member-{number}.safetensors", tensors, {**metadata, "member": str(number), "members": str(len(members))})
    if rest:
        write_safetensors(folder / path.stem / "rest.safetensors", rest, metadata)
    print(f"{path}: {kind}, {len(members)} members of {len(members[min(members)])} tensors, {len(rest)} beside them -> {folder / path.stem}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--to", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--whole", action="store_true", help="one file, whatever is in it")
    arguments = parser.parse_args()
    failures = 0
    for path in arguments.files:
        try:
            convert(path, arguments.to, arguments.whole)
        except (Refused, OSError) as error:
            failures += 1
            print(f"convert_sed_models: {path}: {error}", file=sys.stderr)
    return 3 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
