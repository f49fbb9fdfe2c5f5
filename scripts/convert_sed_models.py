#!/usr/bin/env python3
"""scripts/convert_sed_models.py FILE|FOLDER ... --to FOLDER: converts published models of SED, SDDE and OpenOOD to folders that `dissent evaluate` reads.

SED's models (models/symlinked/*.pkl) are pickled objects, which normally need SED's code. This script needs none of their classes and runs none of
their code: objects of unknown classes become stubs that only have attributes, from which the names of the weights are derived as by
state_dict. SDDE's checkpoints (state dicts of an ensemble) and those of OpenOOD (one network each) are read too.

An ensemble (SED: submodels.N, SDDE: nets.N) becomes FOLDER/STEM with one file per member, member-N.safetensors, and ensemble.json, which names the
network of the members (docs/export.md). Other tensors (soup, DICE's discriminator) go to rest.safetensors. --ensemble NAME makes one ensemble of
several files with one network each. A FOLDER with s0/best.ckpt, s1/best.ckpt, .. (OpenOOD's releases) becomes one ensemble with its name. A single
network becomes an ensemble of one member. A folder is replaced as a whole. Two sources of one call with the same output folder are rejected before
anything is written.

A folder EXP with 1/best.ckpt, 2/best.ckpt, .. (SDDE's releases: an ensemble per file, a file per seed) becomes FOLDER/EXP/seed-1, FOLDER/EXP/seed-2,
.., with experiment EXP and these seeds in result rows; evaluate.runs = ["FOLDER/EXP/seed-*"] reads all of them. EXP/1 alone becomes
FOLDER/EXP/seed-1; another folder with a best.ckpt becomes FOLDER/ITS-NAME.

The network is identified by the names and shapes of the weights: SED's block_head, lenet, resnet18_32x32, resnet18_64x64 (200 classes; otherwise use
--model), resnet18_224x224, resnet50, deit3_*_patch16_224, and *_multihead. In result rows --experiment sets the name of the training (default: STEM or
EXP; for SED's four files that of configs/sed), --method its losses and --seed its seed.

--weights-only writes only safetensors, for any network: FOLDER/STEM.safetensors, or one file per member; --whole writes one file in any case.
Reads files of torch.save (new and old layout) and of pickle. Calls of functions that are not in the list ALLOWED are rejected with their name.
Needs PyTorch. Exit codes: 2 wrong usage, 3 a file cannot be read or contains none of these networks.
"""
import argparse
import collections
import ctypes
import io
import json
import os
import pathlib
import pickle
import re
import shutil
import struct
import sys
import zipfile

import torch

WRAPPED, INNER = "ModuleDelegatingWrapper_custom_attrs", "ModuleDelegatingWrapper_inner_object"  # attributes of SED's wrappers around a member
MEMBERS = re.compile(r"^(?:module\.)?(?:submodels|nets)\.(\d+)\.(.+)$")
# Experiment and losses, as in configs/sed, with which SED's four published files were trained.
SED_FILES = {"50_models": ("sed_50_models", "cross_entropy"), "ood_gen": ("sed_ood_gen", "cross_entropy"),
             "ood_det_cov": ("sed_ood_det_covariate", "cross_entropy+a2d_hard"), "ood_det_sem": ("sed_ood_det_semantic", "cross_entropy+a2d_hard")}
SED_SEED = 42
BLOCK_HEAD = {"norm2.weight", "norm2.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias", "gamma_2", "norm.weight", "norm.bias", "head.weight", "head.bias"}
DEIT_SIZES = {384: "small", 768: "base", 1024: "large"}
TRANSFORMS = {"lenet": "mnist_train", "resnet18_32x32": "cifar10_train", "resnet18_64x64": "tin_train", "resnet18_224x224": "imagenet_train", "resnet50": "imagenet_train"}
IMAGE_SIZES = {"mnist": 28, "cifar10": 32, "cifar100": 32, "tin": 64, "imagenet": 224, "sed": 224}  # by the part of a transform's name before _train
CONTAINERS = ("state_dict", "model", "model_state_dict", "net")  # keys of the weights in checkpoints
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
          torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
STORAGES = {"DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
            "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
            "BoolStorage": torch.bool, "UntypedStorage": torch.uint8}


class Refused(Exception):
    """A file asks for something that is not allowed, or cannot be read; the message gives the reason."""


class StubType(type):
    """The type of stub classes. Their objects are created without a call. A call would run foreign code, so it is rejected."""

    def __call__(cls, *arguments, **options):
        raise Refused(f"calls {cls.__module__}.{cls.__qualname__}, which is not on the list of allowed functions")


class Stub(metaclass=StubType):
    """An object of an unknown class: its attributes, and its items if it is derived from dict or list."""

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
    """Replaces a callable whose result contains no weights; returns an empty object."""
    cls = stub_class(module, name)
    return lambda *arguments, **options: object.__new__(cls)


def rebuild_tensor(storage, offset, size, stride, *unused):
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def rebuild_parameter(data, *unused):
    return data


def load_from_bytes(content):
    """A storage inside a plain pickle: a complete file of torch.save, which PyTorch may read with weights_only."""
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
    """Reads a pickle with stubs; `storage(dtype, key, count)` returns the elements of a storage of torch.save, [count]."""

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
        if kind == "module" and len(identity) == 4:  # in old files: a class with its source text
            return identity[1]
        if kind != "storage" or self.storage is None:
            raise Refused(f"contains a reference of unknown type {kind}")
        return self.storage(identity[1], str(identity[2]), identity[4])


def read_archive(path):
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise Refused("expected a file of torch.save, found another zip archive")
        folder, storages = names[0].removesuffix("data.pkl"), {}

        def storage(dtype, key, count):
            if key not in storages:
                content = bytearray(archive.read(f"{folder}data/{key}"))
                storages[key] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            return storages[key].view(dtype)[:count]

        return Reader(io.BytesIO(archive.read(names[0])), storage).load()


def read_legacy(file):
    """Reads the part after magic number, version and machine: the object, the keys of its storages, then the storages in that order."""
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
    except FileNotFoundError as error:
        raise Refused("no such file or folder") from error
    except IsADirectoryError as error:
        raise Refused("expected a file with one network, found a folder") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise Refused(f"damaged, or not of torch.save or pickle: {type(error).__name__}: {error}") from error


def is_module(value):
    return isinstance(value, Stub) and (WRAPPED in vars(value) or "_parameters" in vars(value) and "_modules" in vars(value))


def module_weights(module, prefix=""):
    """(name, tensor) in the order of state_dict: parameters, persistent buffers, then those of the inner modules."""
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
    """The weights in the object of a file, by name, and the type of the object."""
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
            raise Refused(f"{name}: type {tensor.dtype} cannot be stored in safetensors")
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
    """The values of a tensor as bytes; without numpy, which PyTorch does not install."""
    values = tensor.detach().cpu().contiguous()
    return ctypes.string_at(values.data_ptr(), values.numel() * values.element_size()) if values.numel() else b""


def heads_of(tensors):
    """Number of members on the shared trunk of a multihead network, or None."""
    numbers = [int(found[1]) for name in tensors if (found := re.match(r"heads\.(\d+)\.", name))]
    return max(numbers) + 1 if numbers else None


def model_of(tensors, classes):
    """The name of the network, from names and shapes of its weights, or None."""
    if {name.replace("ls2.gamma", "gamma_2") for name in tensors} == BLOCK_HEAD:
        return "block_head"
    trunk = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    if "block1.0.weight" in trunk and "classifier1.weight" in trunk:
        return "lenet"
    if "conv1.weight" in trunk and "layer4.0.conv1.weight" in trunk:
        if "layer1.0.conv3.weight" in trunk:
            return "resnet50"
        if trunk["conv1.weight"].shape[-1] == 7:
            return "resnet18_224x224"
        return "resnet18_64x64" if classes == 200 else "resnet18_32x32"
    if "patch_embed.proj.weight" in trunk and "cls_token" in trunk:
        size = DEIT_SIZES.get(trunk["cls_token"].shape[-1])
        return size and f"deit3_{size}_patch16_224"
    return None


def classes_of(tensors):
    for name in ("head.weight", "fc.weight", "heads.0.2.weight"):
        if name in tensors:
            return tensors[name].shape[0]
    return None


def description(tensors, kind, files, name, options, source):
    """The contents of ensemble.json for members like this one."""
    classes, heads = classes_of(tensors), heads_of(tensors)
    model = options.model or model_of(tensors, classes)
    if model is None or classes is None:
        listed = ", ".join(f"{key} {list(value.shape)}" for key, value in list(tensors.items())[:6])
        raise Refused(f"members of class {kind} with {len(tensors)} tensors ({listed}, ..): expected one of SED's heads, LeNet, ResNet-18, ResNet-50 or DeiT-3; "
                      "--weights-only writes the weights of any network")
    if heads and not model.endswith("_multihead"):
        model += "_multihead"
    on_features = model == "block_head"
    transform = None if on_features else options.transform or transform_of(model.removesuffix("_multihead"), classes)
    experiment, method = SED_FILES.get(name, (name, "released")) if on_features else (name, "released")
    return {
        "format": "dissent ensemble", "version": 1, "run": name, "experiment": options.experiment or experiment, "method": options.method or method,
        "seed": options.seed if options.seed is not None else SED_SEED if on_features else 0, "members": heads or len(files), "files": files, "model": model, "classes": classes,
        "dim": tensors["norm2.weight"].shape[0] if on_features else None, "hidden": tensors["mlp.fc1.weight"].shape[0] if on_features else None,
        "image_size": None if on_features else IMAGE_SIZES[transform.split("_")[0]], "heads": heads, "transform": transform, "config_hash": "", "source": source,
    }


def transform_of(model, classes):
    if model.startswith("deit3_"):
        return "imagenet_train"
    return "cifar100_train" if model == "resnet18_32x32" and classes == 100 else TRANSFORMS[model]


def network_of(path):
    """The weights of a file with one network, without "module.", and the type of its object."""
    weights, kind = weights_of(read_object(path))
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    if any(MEMBERS.match(name) for name in weights):
        raise Refused("expected a file with one network, found an ensemble")
    return weights, kind


def replace_folder(part, target):
    """Replaces a folder by a finished one."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def write_ensemble(folder, name, members, rest, kind, options, source, metadata):
    """Writes FOLDER/NAME with the members and, unless weights_only, ensemble.json."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [f"member-{number}.safetensors" for number in range(len(members))]
    described = None if options.weights_only else description(members[0], kind, files, name, options, source)
    for number, tensors in enumerate(members):
        shapes = [{key: value.shape for key, value in some.items()} for some in (members[0], tensors)]
        if described and shapes[0] != shapes[1]:
            differs = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))[0]
            raise Refused(f"member {number} differs from member 0: only one of them has {differs[0]} {list(differs[1])}")
    part = folder / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for number, tensors in enumerate(members):
        write_safetensors(part / files[number], tensors, {**metadata, "member": str(number), "members": str(len(members))})
    if rest:
        write_safetensors(part / "rest.safetensors", rest, metadata)
    if described:
        (part / "ensemble.json").write_text(json.dumps(described, indent=2) + "\n")
    replace_folder(part, folder / name)
    network = f"{described['model']} of {described['classes']} classes, " if described else ""
    print(f"{source}: {kind}, {network}{len(members)} members of {len(members[0])} tensors, {len(rest)} other tensors -> {folder / name}")


class Work:
    """One ensemble to write, from one file or from several with one network each: its path below --to, and its entries in result rows."""

    def __init__(self, source, paths, name, joined=False, experiment=None, seed=None):
        self.source, self.paths, self.name, self.joined, self.experiment, self.seed = source, paths, name, joined, experiment, seed
        self.place = pathlib.Path(experiment or "", name)

    def run(self, options):
        options = argparse.Namespace(**vars(options))
        options.experiment = options.experiment or self.experiment
        options.seed = options.seed if options.seed is not None else self.seed
        folder = (options.to / self.place).parent
        if self.joined:
            join(self.paths, self.name, folder, options)
        else:
            convert(self.paths[0], self.name, folder, options)


def is_number(text):
    return re.fullmatch("[0-9]+", text) is not None


def work_of(path):
    """The ensembles in a file or folder."""
    if not path.is_dir():
        return [Work(path, [path], path.stem)]
    named = pathlib.Path(os.path.abspath(path))  # also for "."
    folders = {inner.name: inner / "best.ckpt" for inner in path.iterdir() if inner.is_dir()}
    members = {int(name[1:]): file for name, file in folders.items() if re.fullmatch("s[0-9]+", name)}
    if any(file.is_file() for file in members.values()):
        found = [number for number in sorted(members) if members[number].is_file()]
        missing = sorted(set(range(max(members) + 1)) - set(found))
        if missing:
            raise Refused(f"s{missing[0]}/best.ckpt is missing: expected one in each of s0 .. s{max(members)}, found {', '.join(f's{number}' for number in found)}; "
                          "--ensemble NAME makes an ensemble of chosen files")
        return [Work(path, [members[number] for number in sorted(members)], named.name, joined=True)]
    seeds = {name: file for name, file in folders.items() if is_number(name)}
    if any(file.is_file() for file in seeds.values()):
        for name, file in seeds.items():
            if not file.is_file():
                raise Refused(f"{name}/best.ckpt is missing: expected one in each of {', '.join(sorted(seeds, key=int))}; the folders of single seeds can be given instead")
        return [Work(seeds[name], [seeds[name]], f"seed-{int(name)}", experiment=named.name, seed=int(name)) for name in sorted(seeds, key=int)]
    if (path / "best.ckpt").is_file():
        file = path / "best.ckpt"
        if is_number(named.name):
            return [Work(file, [file], f"seed-{int(named.name)}", experiment=named.parent.name, seed=int(named.name))]
        return [Work(file, [file], named.name)]
    raise Refused("expected a folder with s0/best.ckpt, s1/best.ckpt, .. (OpenOOD), 1/best.ckpt, 2/best.ckpt, .. (SDDE) or best.ckpt")


def check_places(works, to):
    """Rejects two sources with the same output folder, or with one output folder inside the other."""
    for number, work in enumerate(works):
        for other in works[:number]:
            for outer, inner in ((other, work), (work, other)):
                if outer.place == inner.place or outer.place in inner.place.parents:
                    where = f"both become {to / outer.place}" if outer.place == inner.place else f"become {to / other.place} and {to / work.place}, one inside the other"
                    raise Refused(f"{other.source} and {work.source} would {where}: call the script once for each, with another folder as --to, or pass the release's folder "
                                  "(EXP with 1/best.ckpt, 2/best.ckpt, ..), which writes one folder per seed")


def convert(path, stem, folder, options):
    """Writes FOLDER/STEM for a file with an ensemble or a network."""
    value = read_object(path)
    weights, kind = weights_of(value)
    source = path.name if path.stem == stem else f"{path.parent.name}/{path.name}"
    metadata = {"format": "pt", "source": source, "class": kind}
    if is_module(value) and isinstance(vars(value).get("weights"), torch.Tensor):
        metadata["ensemble_weights"] = json.dumps(vars(value)["weights"].tolist())
    members, rest = {}, {}
    for name, tensor in weights.items():
        found = None if options.whole else MEMBERS.match(name)
        target = members.setdefault(int(found[1]), {}) if found else rest
        target[found[2] if found else name] = tensor
    if members and sorted(members) != list(range(len(members))):
        missing = min(set(range(max(members) + 1)) - set(members))
        raise Refused(f"members {', '.join(map(str, sorted(members)))}: expected 0 .. {max(members)}, member {missing} is missing")
    if members:
        write_ensemble(folder, stem, [members[number] for number in sorted(members)], rest, kind, options, source, metadata)
    elif options.weights_only:
        write_safetensors(folder / f"{stem}.safetensors", weights, metadata)
        print(f"{path}: {kind}, {len(weights)} tensors -> {folder / stem}.safetensors")
    else:
        tensors = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
        write_ensemble(folder, stem, [tensors], {}, kind, options, source, metadata)


def join(paths, name, folder, options):
    """Writes one ensemble for files with one network each."""
    members = []
    for path in paths:
        try:
            tensors, kind = network_of(path)
        except (Refused, OSError) as error:
            raise Refused(f"{path}: {error}") from error
        members.append(tensors)
    source = ", ".join(f"{path.parent.name}/{path.name}" for path in paths)
    write_ensemble(folder, name, members, {}, kind, options, source, {"format": "pt", "source": source, "class": kind})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE|FOLDER")
    parser.add_argument("--to", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--ensemble", metavar="NAME", help="make one ensemble of all files, which have one network each")
    parser.add_argument("--model", metavar="NAME", help="the network, if names and shapes do not identify it")
    parser.add_argument("--transform", metavar="NAME", help="transform of the training images; default: by network and classes: mnist_train, cifar10_train, ..")
    parser.add_argument("--experiment", metavar="NAME", help="name of the training in result rows")
    parser.add_argument("--method", metavar="NAME", help="its losses in result rows; default: released")
    parser.add_argument("--seed", type=int, help="seed in result rows; default: N of seed-N, 42 for SED's heads, else 0")
    parser.add_argument("--weights-only", action="store_true", help="write only safetensors, without ensemble.json")
    parser.add_argument("--whole", action="store_true", help="write one file of weights in any case")
    options = parser.parse_args()
    options.weights_only = options.weights_only or options.whole
    if options.transform and options.transform.split("_")[0] not in IMAGE_SIZES:
        parser.error(f"--transform: expected one of {', '.join(f'{name}_train' for name in IMAGE_SIZES)}; found {options.transform}")
    if options.ensemble and options.weights_only:
        parser.error("--ensemble cannot be combined with --weights-only or --whole")
    works, failures = [], 0

    def failed(name, error):
        nonlocal failures
        failures += 1
        print(f"convert_sed_models: {name}: {error}", file=sys.stderr)

    for path in options.files:
        try:
            works += [] if options.ensemble else work_of(path)
        except (Refused, OSError) as error:
            failed(path, error)
    if options.ensemble:
        works = [Work(options.ensemble, options.files, options.ensemble, joined=True)]
    try:
        check_places(works, options.to)
    except Refused as error:
        parser.error(str(error))
    if options.experiment and len({work.experiment or str(work.place) for work in works}) > 1:
        parser.error("--experiment: expected one ensemble; pass one file, or use --ensemble")
    if options.seed is not None and len({work.seed for work in works if work.seed is not None}) > 1:
        parser.error("--seed: expected the folder of one seed, found several; omit --seed, or pass one of the folders")
    for work in works:
        try:
            work.run(options)
        except (Refused, OSError) as error:
            failed(work.source, error)
    return 3 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
