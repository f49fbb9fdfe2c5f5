"""Without compiled operators, or with those of another torch, the import fails and says what to do. Each case breaks a copy of the package."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import dissent


class Import(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.package = pathlib.Path(folder.name) / "dissent"
        shutil.copytree(pathlib.Path(dissent.__file__).parent, self.package)

    def run_python(self, code):
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(self.package.parent)})

    def fails(self, *texts):
        result = self.run_python("import dissent")
        self.assertNotEqual(result.returncode, 0)
        last = result.stderr.strip().splitlines()[-1]
        for text in ("ImportError: dissent: ", "pip install ./python", *texts):
            self.assertIn(text, last)

    def test_the_copy_works(self):
        result = self.run_python("import dissent; print(dissent.__file__)")
        self.assertEqual(result.stdout.strip(), str(self.package / "__init__.py"), result.stderr)

    def test_missing_operators(self):
        library = self.package / "_library.abi3.so"
        library.rename(self.package / "elsewhere.so")
        self.fails("expected the compiled operators", str(library), "found no such file")

    def test_broken_operators(self):
        (self.package / "_library.abi3.so").write_bytes(b"not a library")
        self.fails("compiled operators: expected a library that can be loaded")

    def test_another_torch(self):
        from dissent._build import TORCH_VERSION

        (self.package / "_build.py").write_text('TORCH_VERSION = "1.2.3"\n')
        self.fails("torch: expected version 1.2.3, for which the operators were compiled", f"found {TORCH_VERSION}")

    def test_no_record_of_torch(self):
        (self.package / "_build.py").unlink()
        self.fails("_build.py", "found no such file")

    def test_typed(self):
        self.assertTrue((self.package / "py.typed").exists())


if __name__ == "__main__":
    unittest.main()
