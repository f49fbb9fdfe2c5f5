"""scripts/convert_sed_models.py on checkpoints of classes that are gone when they are read: written by a module in a folder that is removed."""
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

# The shapes of SED's classes: an ensemble of heads, wrapped members, a soup; partials, methods and configurations beside the weights.
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
        self.assertIn("3 members of 14 tensors, 0 beside them", said)
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
        done = subprocess.run([sys.executable, SCRIPT, self.save(single), "--to", self.folder / "out"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_same("model.safetensors", single.state_dict())

    def test_soup_and_wrapped_members(self):
        ensemble = self.classes.RedneckEnsemble(2, 4, 3, soup=True)
        inner = list(ensemble.submodels)
        ensemble._modules["submodels"]._modules["1"] = self.classes.ModelClassesWrapper(inner[1])
        self.assertIn("2 members of 14 tensors, 14 beside them", self.run_script(self.save(ensemble)))
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
            self.assertRegex(said, r"wants to call (posix|nt)\.system, which is not on the list")
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
        self.assertIn("missing.pth", said)
        self.assert_same("good.safetensors", {"weight": torch.ones(3)})


if __name__ == "__main__":
    unittest.main()
