"""Readers, on files that the program wrote (DISSENT_TEST_FILES: train.cache, test.cache, runs/, rows/) and on files in SED's layout."""
import os
import pathlib
import shutil
import tempfile
import unittest
import warnings

import h5py
import numpy
import torch

import dissent

FILES = pathlib.Path(os.environ["DISSENT_TEST_FILES"])


class TemporaryTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def refused(self, message, function, *args):
        with self.assertRaises(ValueError) as raised:
            function(*args)
        self.assertIn(message, str(raised.exception))


class Caches(TemporaryTest):
    def test_shards(self):
        with dissent.open_cache(FILES / "train.cache") as cache:
            self.assertEqual((len(cache), cache.dim, cache.passes, cache.classes, cache.manifest["source"]), (300, 196, 1, 10, "mnist/test"))
            with h5py.File(FILES / "train.cache" / "shard-00001.h5") as shard:
                self.assertEqual(len(shard["embed"]), 128)
                expected = shard["embed"][2:12]
            rows = cache[130:140]
            numpy.testing.assert_array_equal(rows.features, expected)
            everything = cache.read()
            self.assertEqual((everything.features.dtype, everything.labels.dtype, everything.index.tolist()), (torch.float32, torch.int64, list(range(300))))
            torch.testing.assert_close(cache[120:265].features, everything.features[120:265])  # over two ends of shards
            self.assertIsInstance(cache.read(0, 3, numpy_arrays=True).features, numpy.ndarray)
            self.assertEqual(cache[5:5].features.shape, (0, 196))
            batch = next(iter(torch.utils.data.DataLoader(cache, batch_size=7, sampler=range(125, 132))))
            torch.testing.assert_close(batch, [everything.features[125:132], everything.labels[125:132]])
            torch.testing.assert_close(cache[-1][0], everything.features[299])
            self.assertRaises(IndexError, lambda: cache[300])
            self.refused("rows: expected a range within 0 .. 299, found 298 .. 300", cache.read, 298, 3)

    def test_bf16(self):
        with dissent.open_cache(FILES / "test.cache") as cache:
            features = cache[:50].features
            self.assertEqual((cache.manifest["dtype"], features.dtype), ("bf16", torch.float32))
            self.assertTrue((features == features.bfloat16().float()).all())
            self.assertGreater(features.std().item(), 0.1)

    def test_broken_folders(self):
        self.assertRaisesRegex(FileNotFoundError, "expected a feature cache, found nothing of this name", dissent.open_cache, self.folder / "none.cache")
        self.refused("expected a finished feature cache, found no manifest.toml", dissent.open_cache, self.folder)
        broken = self.folder / "broken.cache"
        shutil.copytree(FILES / "train.cache", broken)
        manifest = (broken / "manifest.toml").read_text()
        (broken / "manifest.toml").write_text(manifest.replace("rows = 300\n", "rows = 301\n", 1))
        self.refused("expected shards of 301 rows together, found 300", dissent.open_cache, broken)
        (broken / "manifest.toml").write_text(manifest.replace("dim = 196", "dim = 197"))
        self.refused("shard-00000.h5: embed: expected [128, 197] float32, found [128, 196] float32", dissent.open_cache, broken)
        (broken / "manifest.toml").rename(broken / "manifest.toml.partial")
        self.refused("incomplete", dissent.open_cache, broken)

    def sed_file(self, labels, index):
        """embed row i is i; labels and index as float columns, as SED writes them."""
        path = self.folder / "sed.hdf5"
        with h5py.File(path, "w") as file:
            file["embed"] = numpy.repeat(numpy.arange(len(labels), dtype=numpy.float32)[:, None], 3, 1)
            file["label"] = numpy.asarray(labels, numpy.float32)[:, None]
            file["index"] = numpy.asarray(index, numpy.float32)[:, None]
        return path

    def test_sed_file(self):
        with dissent.open_cache(self.sed_file([2, 0, 1] * 2, [0, 1, 2] * 2)) as cache:
            self.assertEqual((len(cache), cache.passes, cache.rows_per_pass, cache.classes, cache.dim), (6, 2, 3, 3, 3))
            rows = cache[2:5]
            self.assertEqual((rows.features[:, 0].tolist(), rows.labels.tolist(), rows.index.tolist()), ([2, 3, 4], [1, 2, 0], [2, 0, 1]))
        first = 2**24 - 2
        with dissent.open_cache(self.sed_file([0] * 6, [first + i for i in range(6)])) as cache:
            self.assertEqual(cache.read().index.tolist(), [first + i for i in range(6)])  # float32 cannot hold these
        with dissent.open_cache(self.sed_file([0, 1, 0, 1], [3, 1, 3, 1])) as cache:
            self.assertEqual((cache.passes, cache.read().index.tolist()), (2, [3, 1, 3, 1]))

    def test_broken_sed_files(self):
        self.refused("label of row 1: expected a whole number, found 0.5", dissent.open_cache, self.sed_file([0, 0.5], [0, 1]))
        self.refused("index: expected passes of one length", dissent.open_cache, self.sed_file([0] * 5, [0, 1, 2, 0, 1]))
        self.refused("values below 2^24, where float32 is exact", dissent.open_cache, self.sed_file([0, 0], [2**24 + 8, 0]))
        (self.folder / "text.hdf5").write_text("text")
        self.refused("text.hdf5", dissent.open_cache, self.folder / "text.hdf5")


class Ensembles(TemporaryTest):
    def accuracies(self):
        """Accuracy of each run and predictor as the program computed it."""
        rows = dissent.open_results(FILES / "rows" / "**" / "*.csv")
        return {(row["config_hash"], row["predictor"]): (row["value"], row["n"]) for row in rows if row["metric"] == "accuracy"}

    def test_logits_give_the_accuracy_of_the_program(self):
        accuracies = self.accuracies()
        self.assertEqual(len(accuracies), 6)
        with dissent.open_cache(FILES / "test.cache") as cache:
            features, labels, _ = cache.read()
        for model in ("block_head", "mlp", "linear"):
            with self.subTest(model), torch.no_grad():
                ensemble = dissent.load_ensemble(FILES / "runs" / model / "py" / "seed-42")
                self.assertEqual((ensemble.config["ensemble"]["model"], ensemble.members, ensemble.run), (model, 3, "seed-42"))
                self.assertEqual((ensemble.progress["classes"], ensemble.progress["dim"], ensemble.progress["epoch"]), (10, 196, 2))
                for predictor, parameters in (("ensemble", None), ("soup", ensemble.soup)):
                    heads = ensemble.module(parameters)
                    logits = heads(features)
                    self.assertEqual(logits.shape, (1 if parameters else 3, 200, 10))
                    right = (logits.mean(0).argmax(1) == labels).float().mean().item()
                    value, count = accuracies[(ensemble.config_hash, predictor)]
                    self.assertEqual(count, 200)
                    self.assertAlmostEqual(right, value, delta=0.0051)  # one sample: rounding may turn a tie
                    self.assertGreater(ensemble.members, 1)

    def test_module(self):
        ensemble = dissent.load_ensemble(FILES / "runs" / "mlp" / "py" / "seed-42" / "checkpoint.h5")
        heads = ensemble.module()
        self.assertEqual(set(heads.state_dict()), set(ensemble.parameters))
        features = torch.randn(4, 196)
        p = {name: values[1] for name, values in ensemble.parameters.items()}
        alone = torch.relu(features @ p["fc1.weight"].T + p["fc1.bias"]) @ p["fc2.weight"].T + p["fc2.bias"]
        torch.testing.assert_close(heads(features)[1], alone)
        dissent.NCLDiversityLoss()(logits=heads(features)).backward()
        self.assertGreater(heads.fc1.weight.grad.abs().sum().item(), 0)
        self.refused("Heads: x: expected features [B, 196], found [4, 7]", heads, torch.zeros(4, 7))

    def test_broken(self):
        self.assertRaisesRegex(FileNotFoundError, "expected a checkpoint, found nothing of this name", dissent.load_ensemble, self.folder / "none")
        self.refused("expected a checkpoint of format", dissent.load_ensemble, FILES / "train.cache" / "shard-00000.h5")


class Results(TemporaryTest):
    HEADER = "experiment,run,config_hash,seed,method,members,predictor,dataset,split,shift,score,metric,convention,fidelity,value,n\n"

    def test_rows(self):
        rows = dissent.open_results(FILES / "rows" / "**" / "*.csv")
        self.assertEqual({row["experiment"] for row in rows}, {"py"})
        self.assertTrue(all(isinstance(row["value"], float) and isinstance(row["n"], int) and row["seed"] == 42 for row in rows))
        (self.folder / "a.csv").write_text(self.HEADER + 'e,"r,1",h,1,m,5,soup,d,,id,,accuracy,sklearn,,nan,7\n')
        (self.folder / "train.csv").write_text("epoch,loss\n0,1\n")
        row, = dissent.open_results(self.folder / "*.csv")
        self.assertEqual((row["run"], row["n"], row["value"] != row["value"]), ("r,1", 7, True))

    def test_broken(self):
        self.assertRaisesRegex(FileNotFoundError, "expected result files of this name or pattern, found none", dissent.open_results, self.folder / "*.csv")
        (self.folder / "a.csv").write_text(self.HEADER + "e,r,h,1,m,5,soup,d,,id,,accuracy,sklearn,,x,7\n")
        self.refused("a.csv:2: column value: expected a number, found 'x'", dissent.open_results, self.folder / "a.csv")
        (self.folder / "a.csv").write_text(self.HEADER + "e,r\n")
        self.refused("a.csv:2: expected 16 columns, as the header has, found 2", dissent.open_results, self.folder / "a.csv")
        (self.folder / "a.csv").write_text("epoch,loss\n")
        self.refused("a.csv:1: expected a column 'experiment' in the header, found none", dissent.open_results, self.folder / "a.csv")

    def test_what_spreadsheets_make_of_them(self):
        row = "e,r,h,1,m,5,soup,d,,id,,accuracy,sklearn,,0.5,7\n"
        text = self.HEADER + row
        for kind, content in {"mark": b"\xef\xbb\xbf" + text.encode(), "CRLF": text.replace("\n", "\r\n").encode()}.items():
            with self.subTest(kind):
                (self.folder / "a.csv").write_bytes(content)
                read, = dissent.open_results(self.folder / "a.csv")
                self.assertEqual((read["experiment"], read["value"], read["n"]), ("e", 0.5, 7))
                self.assertEqual(dissent.open_results(self.folder / "*.csv"), [read])
        # One that cannot be read is no foreign one: a pattern finds it and says why.
        quoted = ";".join(f'"{name}"' for name in self.HEADER.strip().split(",")) + "\n" + row.replace(",", ";")
        for content, what in ((quoted.encode(), "a.csv:1: expected columns separated by commas, found semicolons"),
                              (text.replace(",", "\t").encode(), "found tabs"), (text.encode("utf-16"), "expected text in UTF-8, found UTF-16"),
                              (text.replace("0.5", '"0.5').encode(), "a.csv:2: unexpected end of data")):
            with self.subTest(what):
                (self.folder / "a.csv").write_bytes(content)
                self.refused(what, dissent.open_results, self.folder / "*.csv")
        # Foreign ones are counted, the program's own are not.
        (self.folder / "a.csv").write_text(text)
        (self.folder / "train.csv").write_text("epoch,loss\n0,1\n")
        (self.folder / "roc.csv").write_text("kind,series,x,y\nroc,a,0,0\n")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertEqual(len(dissent.open_results(self.folder / "*.csv")), 1)
        (self.folder / "b.csv").write_text("a,b\n1,2\n")
        (self.folder / "c.csv").write_text("")
        with self.assertWarnsRegex(UserWarning, "skipped 2 CSV files without the columns of result rows, such as .*b.csv"):
            self.assertEqual(len(dissent.open_results(self.folder / "*.csv")), 1)
        (self.folder / "a.csv").unlink()
        self.assertRaisesRegex(FileNotFoundError, "found none; skipped 2 CSV files", dissent.open_results, self.folder / "*.csv")


if __name__ == "__main__":
    unittest.main()
