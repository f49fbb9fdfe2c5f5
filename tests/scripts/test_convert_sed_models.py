"""scripts/convert_sed_models.py on checkpoints of classes that no longer exist when they are read: written by a module in a folder that is removed."""
import contextlib
import importlib.util
import io
import json
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import torch

SCRIPT = pathlib.Path(os.environ["DISSENT_SOURCE_DIR"]) / "scripts" / "convert_sed_models.py"

# The shapes of SED's classes: an ensemble of heads, wrapped members, a soup; partials, methods and configurations next to the weights.
CLASSES = '''
import collections, functools, torch

class Mlp(torch.nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1 = torch.nn.Linear(dim, 2 * dim)
        self.act = torch.nn.GELU()
        self.fc2 = torch.nn.Linear(2 * dim, dim)

class FinalLayers(torch.nn.Module):
    def __init__(self, dim, classes):
        super().__init__()
        self.gamma_2 = torch.nn.Parameter(torch.rand(dim))
        self.mlp = Mlp(dim)
        self.norm2 = torch.nn.LayerNorm(dim)
        self.norm = torch.nn.BatchNorm1d(dim)
        self.head = torch.nn.Linear(dim, classes)
        self.register_buffer("unkept", torch.ones(3), persistent=False)
        self.drop_path = None
        self.layer = functools.partial(torch.nn.LayerNorm, eps=1e-6)
        self.method = self.norm.forward
        self.device = torch.device("cpu")

class Config(dict):
    pass

class RedneckEnsemble(torch.nn.Module):
    def __init__(self, members, dim, classes, soup=False):
        super().__init__()
        self.submodels = torch.nn.ModuleList([FinalLayers(dim, classes) for _ in range(members)])
        self.weights = torch.full((members,), 0.5)
        self.softmax = torch.nn.Softmax(dim=-1)
        self.config = Config(rate=0.1)
        self.active = {0, 1}
        self.soup = FinalLayers(dim, classes) if soup else None

class ModelClassesWrapper(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        object.__setattr__(self, "ModuleDelegatingWrapper_custom_attrs", {"ModuleDelegatingWrapper_inner_object": inner, "mapper": Config()})

class Evil:
    def __reduce__(self):
        import os
        return os.system, ("touch executed",)

class Called:
    def __init__(self, value):
        self.value = value
    def __reduce__(self):
        return Called, (1,)
'''


spec = importlib.util.spec_from_file_location("convert_sed_models", SCRIPT)
SCRIPT_MODULE = importlib.util.module_from_spec(spec)
spec.loader.exec_module(SCRIPT_MODULE)


@contextlib.contextmanager
def in_folder(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def read_safetensors(path):
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    dtypes = {"F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "U8": torch.uint8}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            flat = torch.frombuffer(bytearray(content[begin:end]), dtype=dtypes[entry["dtype"]]) if end > begin else torch.empty(0, dtype=dtypes[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors, header["__metadata__"]


class ConvertTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        torch.manual_seed(1)
        source = self.folder / "vanishing_classes.py"
        source.write_text(CLASSES)
        spec = importlib.util.spec_from_file_location("vanishing_classes", source)
        self.classes = importlib.util.module_from_spec(spec)
        sys.modules["vanishing_classes"] = self.classes
        spec.loader.exec_module(self.classes)
        source.unlink()
        self.addCleanup(sys.modules.pop, "vanishing_classes")

    def save(self, value, name="model.pkl", **options):
        torch.save(value, self.folder / name, **options)
        return self.folder / name

    def run_script(self, *arguments, code=0):
        return self.run_whole("--weights-only", *arguments, code=code)

    def run_whole(self, *arguments, code=0):
        """In this process, which takes a second less, without the module of the classes."""
        said = io.StringIO()
        with in_folder(self.folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), unittest.mock.patch.dict(sys.modules):
            del sys.modules["vanishing_classes"]
            with unittest.mock.patch.object(sys, "argv", ["convert_sed_models.py", "--to", "out", *map(str, arguments)]):
                status = SCRIPT_MODULE.main()
        self.assertEqual(status, code, said.getvalue())
        self.assertFalse((self.folder / "executed").exists(), "a file was executed")
        return said.getvalue()

    def assert_same(self, path, wanted):
        tensors, metadata = read_safetensors(self.folder / "out" / path)
        self.assertEqual(sorted(tensors), sorted(wanted))
        for name, value in wanted.items():
            self.assertEqual(tensors[name].dtype, value.dtype, name)
            self.assertTrue(torch.equal(tensors[name], value), name)
        return metadata

    def check_ensemble(self, path, ensemble):
        said = self.run_script(path)
        self.assertIn("3 members of 14 tensors, 0 other tensors", said)
        for i in range(3):
            metadata = self.assert_same(f"model/member-{i}.safetensors", ensemble.submodels[i].state_dict())
            self.assertEqual((metadata["class"], metadata["member"], metadata["members"]), ("vanishing_classes.RedneckEnsemble", str(i), "3"))
            self.assertEqual(json.loads(metadata["ensemble_weights"]), [0.5, 0.5, 0.5])

    def test_ensemble_in_every_layout(self):
        ensemble = self.classes.RedneckEnsemble(3, 8, 5)
        self.check_ensemble(self.save(ensemble), ensemble)
        self.check_ensemble(self.save(ensemble, _use_new_zipfile_serialization=False), ensemble)
        with open(self.folder / "model.pkl", "wb") as file:
            pickle.dump(ensemble, file)
        self.check_ensemble(self.folder / "model.pkl", ensemble)

    def test_as_a_program(self):
        single = self.classes.FinalLayers(4, 3)
        done = subprocess.run([sys.executable, SCRIPT, "--weights-only", self.save(single), "--to", self.folder / "out"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_same("model.safetensors", single.state_dict())

    def test_soup_and_wrapped_members(self):
        ensemble = self.classes.RedneckEnsemble(2, 4, 3, soup=True)
        inner = list(ensemble.submodels)
        ensemble._modules["submodels"]._modules["1"] = self.classes.ModelClassesWrapper(inner[1])
        self.assertIn("2 members of 14 tensors, 14 other tensors", self.run_script(self.save(ensemble)))
        for i in range(2):
            self.assert_same(f"model/member-{i}.safetensors", inner[i].state_dict())
        self.assert_same("model/rest.safetensors", {f"soup.{name}": value for name, value in ensemble.soup.state_dict().items()})

    def test_whole_and_single_models(self):
        ensemble = self.classes.RedneckEnsemble(2, 4, 3)
        self.run_script("--whole", self.save(ensemble))
        self.assert_same("model.safetensors", ensemble.state_dict())
        single = self.classes.FinalLayers(4, 3)
        self.run_script(self.save(self.classes.ModelClassesWrapper(single), "single.pkl"))
        self.assertEqual(self.assert_same("single.safetensors", single.state_dict())["class"], "vanishing_classes.FinalLayers")

    def test_views_types_and_strides(self):
        storage = torch.arange(24, dtype=torch.float64)
        state = {"transposed": storage.view(4, 6).t(), "part": storage[3:7], "half": torch.ones(2, 2).half(), "bfloat": torch.rand(3).bfloat16(), "count": torch.tensor(7),
                 "empty": torch.empty(0, 3)}
        for options in ({}, {"_use_new_zipfile_serialization": False}):
            self.run_script(self.save(state, "state.pth", **options))
            self.assert_same("state.safetensors", state)

    def test_checkpoints_of_sdde(self):
        state = {f"nets.{i}.{name}": value for i in range(2) for name, value in torch.nn.Linear(3, 2).state_dict().items()}
        state["discriminator.weight"] = torch.rand(2)
        self.run_script(self.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, "sdde.ckpt"))
        for i in range(2):
            self.assert_same(f"sdde/member-{i}.safetensors", {name: state[f"nets.{i}.{name}"] for name in ("weight", "bias")})
        self.assert_same("sdde/rest.safetensors", {"module.discriminator.weight": state["discriminator.weight"]})
        multihead = {"backbone.weight": torch.rand(2), "heads.0.0.weight": torch.rand(3)}
        self.run_script(self.save(multihead, "multihead.ckpt"))
        self.assert_same("multihead.safetensors", multihead)

    def test_nothing_is_executed(self):
        for value in (self.classes.Evil(), {"weight": torch.ones(1), "extra": self.classes.Evil()}):
            said = self.run_script(self.save(value), code=3)
            self.assertRegex(said, r"calls (posix|nt)\.system, which is not on the list")
        with open(self.folder / "evil.pkl", "wb") as file:
            pickle.dump(self.classes.Evil(), file, protocol=0)
        self.assertIn("posix.system", self.run_script("evil.pkl", code=3))
        (self.folder / "builtin.pkl").write_bytes(b"cbuiltins\neval\n(S'1'\ntR.")
        self.assertIn("builtins.eval", self.run_script("builtin.pkl", code=3))
        (self.folder / "instance.pkl").write_bytes(b"(S'touch executed'\nios\nsystem\n.")
        self.assertIn("os.system", self.run_script("instance.pkl", code=3))
        self.assertIn("vanishing_classes.Called", self.run_script(self.save(self.classes.Called(1)), code=3))

    def test_what_cannot_be_read_is_named(self):
        good = self.save({"weight": torch.ones(3)}, "good.pth")
        content = good.read_bytes()
        (self.folder / "cut.pth").write_bytes(content[: len(content) // 2])
        (self.folder / "text.pth").write_text("no weights")
        self.save({"epoch": 3}, "none.pth")
        said = self.run_script("cut.pth", "text.pth", "none.pth", "missing.pth", "good.pth", code=3)
        self.assertIn("cut.pth: damaged", said)
        self.assertIn("text.pth: damaged", said)
        self.assertIn("none.pth: a dict without weights; it has epoch", said)
        self.assertIn("convert_sed_models: missing.pth: no such file or folder\n", said)
        self.assertIn("both: missing.pth: no such file or folder\n", self.run_whole("missing.pth", "good.pth", "--ensemble", "both", code=3))
        self.assert_same("good.safetensors", {"weight": torch.ones(3)})

    def described(self, name):
        return json.loads((self.folder / "out" / name / "ensemble.json").read_text())

    def test_heads_of_sed_are_described(self):
        def heads(members):
            ensemble = self.classes.RedneckEnsemble(members, 4, 3)
            for member in ensemble.submodels:
                member.norm = torch.nn.LayerNorm(4)
            return ensemble

        self.run_whole(self.save(heads(3), "ood_det_cov.pkl"), self.save(heads(2), "mine.pkl"))
        published = self.described("ood_det_cov")
        wanted = {"run": "ood_det_cov", "experiment": "sed_ood_det_covariate", "method": "cross_entropy+a2d_hard", "seed": 42, "members": 3, "model": "block_head", "classes": 3,
                  "dim": 4, "hidden": 8, "files": [f"member-{m}.safetensors" for m in range(3)], "transform": None, "heads": None}
        self.assertEqual({key: published[key] for key in wanted}, wanted)
        self.assertEqual((self.described("mine")["experiment"], self.described("mine")["method"]), ("mine", "released"))
        self.run_whole(self.save(heads(2), "mine.pkl"), "--experiment", "e", "--method", "m", "--seed", 7)
        self.assertEqual([self.described("mine")[key] for key in ("experiment", "method", "seed", "members")], ["e", "m", 7, 2])
        self.assertEqual(sorted(path.name for path in (self.folder / "out").iterdir()), ["mine", "ood_det_cov"])

    def test_another_class_is_named_and_nothing_is_written(self):
        said = self.run_whole(self.save(self.classes.RedneckEnsemble(2, 4, 3)), code=3)
        self.assertIn("model.pkl: members of class vanishing_classes.RedneckEnsemble with 14 tensors", said)
        self.assertFalse([path for path in self.folder.rglob("*") if path.suffix == ".safetensors" or path.name.endswith(".part")])
        self.run_whole(self.save({"nets.0.fc.weight": torch.rand(3, 2), "nets.2.fc.weight": torch.rand(3, 2)}, "gap.ckpt"), code=3)

    def lenet(self, classes, seed):
        torch.manual_seed(seed)
        shapes = {"block1.0": (6, 3, 5, 5), "block2.0": (16, 6, 5, 5), "block3.0": (120, 16, 5, 5), "classifier1": (84, 120), "fc": (classes, 84)}
        return {f"{name}.{part}": torch.rand(shape if part == "weight" else shape[:1]) for name, shape in shapes.items() for part in ("weight", "bias")}

    def test_checkpoints_of_several_seeds_are_one_ensemble(self):
        states = [self.lenet(10, seed) for seed in range(3)]
        for seed, state in enumerate(states):
            (self.folder / "run" / f"s{seed}").mkdir(parents=True)
            self.save(state, f"run/s{seed}/best.ckpt")
        self.run_whole("run")
        found = self.described("run")
        self.assertEqual([found[key] for key in ("model", "classes", "members", "transform", "image_size", "method")], ["lenet", 10, 3, "mnist_train", 28, "released"])
        for seed, state in enumerate(states):
            self.assert_same(f"run/member-{seed}.safetensors", state)
        self.run_whole("run/s2/best.ckpt", "run/s0/best.ckpt", "--ensemble", "two", "--transform", "cifar10_train")
        self.assertEqual([self.described("two")[key] for key in ("members", "transform", "image_size", "experiment")], [2, "cifar10_train", 32, "two"])
        self.assert_same("two/member-0.safetensors", states[2])
        self.save(self.lenet(11, 5), "run/s1/best.ckpt")
        self.assertIn("run: member 1 differs from member 0: only one of them has fc.", self.run_whole("run", code=3))
        self.assertEqual(self.described("run")["members"], 3)  # the one before stays
        (self.folder / "empty").mkdir()
        self.assertIn("empty: expected a folder with s0/best.ckpt", self.run_whole("empty", code=3))

    def test_a_gap_in_the_seeds_of_an_ensemble_is_named(self):
        for missing, present in ((1, (0, 2, 4)), (0, (1, 2, 3))):
            name = f"without-{missing}"
            for seed in present:
                (self.folder / name / f"s{seed}").mkdir(parents=True)
                self.save(self.lenet(10, seed), f"{name}/s{seed}/best.ckpt")
            said = self.run_whole(name, code=3)
            self.assertIn(f"{name}: s{missing}/best.ckpt is missing: expected one in each of s0 .. s{present[-1]}, found {', '.join(f's{seed}' for seed in present)};", said)
        (self.folder / "without-0" / "s0").mkdir()  # a download that did not end
        self.assertIn("s0/best.ckpt is missing", self.run_whole("without-0", code=3))
        self.assertFalse((self.folder / "out").exists())

    def save_release(self, name, seeds):
        for seed in seeds:
            (self.folder / name / str(seed)).mkdir(parents=True)
            states = [self.lenet(10, 10 * seed + member) for member in range(2)]
            self.save({f"nets.{member}.{key}": value for member, state in enumerate(states) for key, value in state.items()}, f"{name}/{seed}/best.ckpt")

    def test_seeds_of_a_release_of_sdde_are_folders_of_their_own(self):
        self.save_release("theirs/exp", (1, 2, 10))
        self.run_whole("theirs/exp")
        self.assertEqual(sorted(path.name for path in (self.folder / "out/exp").iterdir()), ["seed-1", "seed-10", "seed-2"])
        for seed in (1, 2, 10):
            found = self.described(f"exp/seed-{seed}")
            self.assertEqual([found[key] for key in ("run", "experiment", "seed", "members", "source")], [f"seed-{seed}", "exp", seed, 2, f"{seed}/best.ckpt"])
            self.assert_same(f"exp/seed-{seed}/member-1.safetensors", self.lenet(10, 10 * seed + 1))
        self.run_whole("theirs/exp", "--experiment", "named", "--method", "gradcam")
        self.assertEqual([self.described("exp/seed-2")[key] for key in ("experiment", "seed", "method")], ["named", 2, "gradcam"])
        self.save_release("other", (1, 2))
        self.run_whole("other/1", "other/2")
        self.assertEqual([self.described(f"other/seed-{seed}")[key] for seed in (1, 2) for key in ("experiment", "seed")], ["other", 1, "other", 2])
        with in_folder(self.folder / "other/2"):
            self.assertEqual(str(SCRIPT_MODULE.work_of(pathlib.Path("."))[0].place), "other/seed-2")
        with self.assertRaises(SystemExit):  # one seed for all
            self.run_whole("other", "--seed", 7)
        self.run_whole("other/2", "--seed", 7)
        self.assertEqual(self.described("other/seed-2")["seed"], 7)
        (self.folder / "other/3").mkdir()
        self.assertIn("other: 3/best.ckpt is missing: expected one in each of 1, 2, 3", self.run_whole("other", code=3))
        (self.folder / "alone").mkdir()
        self.save(self.lenet(10, 1), "alone/best.ckpt")
        self.run_whole("alone")
        self.assertEqual(self.described("alone")["experiment"], "alone")

    def test_two_sources_with_one_place_are_refused(self):
        self.save_release("exp", (1, 2, 3))
        self.save_release("elsewhere/exp", (2,))
        self.save(self.lenet(10, 1), "exp.ckpt")
        for given, wanted in (((f"exp/{seed}/best.ckpt" for seed in (1, 2, 3)), "exp/1/best.ckpt and exp/2/best.ckpt would both become out/best: call the script once for each"),
                              (("exp", "elsewhere/exp"), "exp/2/best.ckpt and elsewhere/exp/2/best.ckpt would both become out/exp/seed-2"),
                              (("exp/1", "exp.ckpt"), "exp/1/best.ckpt and exp.ckpt would become out/exp/seed-1 and out/exp, one inside the other")):
            said = io.StringIO()
            with (self.assertRaises(SystemExit) as ended, in_folder(self.folder), contextlib.redirect_stderr(said),
                  unittest.mock.patch.object(sys, "argv", ["convert_sed_models.py", "--to", "out", *given])):
                SCRIPT_MODULE.main()
            self.assertEqual(ended.exception.code, 2)
            self.assertIn(wanted, said.getvalue())
            self.assertIn("another folder as --to, or pass the release's folder", said.getvalue())
            self.assertFalse((self.folder / "out").exists())

    def test_multihead_network_is_one_file_of_all_members(self):
        state = {"backbone.conv1.weight": torch.rand(64, 3, 3, 3), "backbone.layer4.0.conv1.weight": torch.rand(2)}
        state |= {f"heads.{m}.{layer}.weight": torch.rand(100, 5) for m in range(4) for layer in (0, 2)}
        self.run_whole(self.save({f"module.{name}": tensor for name, tensor in state.items()}, "many.ckpt"))
        found = self.described("many")
        self.assertEqual([found[key] for key in ("model", "classes", "members", "heads", "files", "transform")],
                         ["resnet18_32x32_multihead", 100, 4, 4, ["member-0.safetensors"], "cifar100_train"])


if __name__ == "__main__":
    unittest.main()
