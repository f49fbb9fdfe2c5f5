"""Reference cases of tests/reference/*.h5: numbers of the methods' public implementations, in float64."""
import json
import os
import pathlib
import unittest

import h5py
import torch

SOURCE_DIR = pathlib.Path(os.environ["DISSENT_SOURCE_DIR"])


class Case:
    """Inputs, parameters and outputs of one case."""

    def __init__(self, name, group):
        self.name = name
        self.kind, self.method = group.attrs["kind"], group.attrs["name"]
        self.params = json.loads(group.attrs["params"])
        self.rtol, self.atol = group.attrs["rtol"], group.attrs["atol"]
        read = lambda folder: {key: torch.as_tensor(values[()]) for key, values in group.get(folder, {}).items()}
        self.inputs, self.outputs, self.gradients = read("in"), read("out"), read("grad")
        for key in self.gradients:
            self.inputs[key].requires_grad_()

    def __getitem__(self, key):
        return self.inputs[key]


def cases(file, method):
    """All cases of a method, one at least."""
    with h5py.File(SOURCE_DIR / "tests" / "reference" / file) as opened:
        found = [Case(name, group) for name, group in opened.items() if group.attrs["name"] == method]
    assert found, f"{file} has no case of {method}"
    return found


class ReferenceTest(unittest.TestCase):
    def expect_output(self, case, name, found):
        torch.testing.assert_close(found.detach().double(), case.outputs[name].double(), rtol=case.rtol, atol=case.atol,
                                   msg=lambda text: f"{case.name}: {name}: {text}")

    def expect_value(self, case, value):
        """The value and its gradient with respect to every input that the case has one for."""
        self.expect_output(case, "value", value)
        found = torch.autograd.grad(value, [case[key] for key in case.gradients])
        for (key, wanted), gradient in zip(case.gradients.items(), found):
            torch.testing.assert_close(gradient, wanted, rtol=case.rtol, atol=case.atol, msg=lambda text: f"{case.name}: gradient of {key}: {text}")
