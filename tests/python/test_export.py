"""What `dissent export` wrote (DISSENT_TEST_FILES: runs/, exported/), read without this package, and the lines of docs/export.md."""
import json
import os
import pathlib
import re
import struct
import sys
import types
import unittest

import torch

import dissent

FILES = pathlib.Path(os.environ["DISSENT_TEST_FILES"])
PAGE = pathlib.Path(os.environ["DISSENT_SOURCE_DIR"]) / "docs" / "export.md"


def load_file(path):
    """safetensors.torch.load_file for f32, so that the test needs no package more."""
    content = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    metadata = header.pop("__metadata__")
    assert metadata["format"] == "pt"
    return {name: torch.frombuffer(bytearray(content[8 + size + entry["data_offsets"][0] : 8 + size + entry["data_offsets"][1]]), dtype=torch.float32).reshape(entry["shape"])
            for name, entry in header.items() if entry["dtype"] == "F32"}


class Export(unittest.TestCase):
    def test_members_have_the_weights_of_the_checkpoint(self):
        for model in ("block_head", "mlp", "linear"):
            ensemble = dissent.load_ensemble(next(FILES.glob(f"runs/{model}/*/*/checkpoint.h5")))
            folder = FILES / "exported" / model
            description = json.loads((folder / "ensemble.json").read_text())
            self.assertEqual((description["model"], description["members"], description["classes"]), (model, 3, 10))
            self.assertEqual(description["configuration"]["ensemble"]["hidden"], 24)
            self.assertRegex(description["config_hash"], "^[0-9a-f]+$")
            for i, file in enumerate(description["files"]):
                weights = load_file(folder / file)
                self.assertEqual(set(weights), set(ensemble.parameters))
                for name, value in weights.items():
                    self.assertTrue(torch.equal(value, ensemble.parameters[name][i]), name)

    def test_lines_of_the_page_for_heads(self):
        lines = re.search(r"```python\n(# heads.*?)```", PAGE.read_text(), re.S)[1].replace("exported/", str(FILES / "exported" / "block_head") + "/")
        self.assertLessEqual(len([line for line in lines.splitlines() if line and not line.startswith(("import", "from", "#"))]), 5)
        stand_in = types.ModuleType("safetensors.torch")
        stand_in.load_file = load_file
        before = {name: sys.modules.get(name) for name in ("safetensors", "safetensors.torch")}
        sys.modules.update({"safetensors": types.ModuleType("safetensors"), "safetensors.torch": stand_in})
        try:
            features = torch.rand(4, 196)
            scope = {"features": features}
            exec(lines, scope)
        finally:
            for name, module in before.items():
                sys.modules.pop(name) if module is None else sys.modules.__setitem__(name, module)
        ensemble = dissent.load_ensemble(next(FILES.glob("runs/block_head/*/*/checkpoint.h5")))
        self.assertTrue(torch.equal(scope["logits"], ensemble.module()(features).detach()))


if __name__ == "__main__":
    unittest.main()
