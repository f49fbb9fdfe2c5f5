"""The examples of docs/python.md run, in the order of the page, on files of the program under the names that the page gives them."""
import contextlib
import io
import os
import pathlib
import re
import tempfile
import unittest

from reference import SOURCE_DIR

FILES = pathlib.Path(os.environ["DISSENT_TEST_FILES"])
PLACES = {"data/quickstart/fashion_test.cache": "test.cache", "results/quickstart/seed-42": "runs/mlp/py/seed-42", "results/quickstart/rows": "rows"}


class Examples(unittest.TestCase):
    def test_the_page(self):
        blocks = re.findall(r"```python\n(.*?)```", (SOURCE_DIR / "docs" / "python.md").read_text(), re.S)
        self.assertEqual(len(blocks), 4)
        names, printed = {}, io.StringIO()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(printed):
            for place, file in PLACES.items():
                pathlib.Path(place).parent.mkdir(parents=True, exist_ok=True)
                pathlib.Path(place).symlink_to(FILES / file)
            for number, block in enumerate(blocks):
                exec(compile(block, f"docs/python.md, example {number + 1}", "exec"), names)
        self.assertIn("200 196 10 1", printed.getvalue())
        self.assertIn("ensemble accuracy", printed.getvalue())


if __name__ == "__main__":
    unittest.main()
