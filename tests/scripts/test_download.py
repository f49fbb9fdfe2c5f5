"""scripts/download on a table of its own: files by file:// and from a server on this machine, interrupted, resumed, damaged, missing."""
import csv
import hashlib
import http.server
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import unittest

SCRIPT = pathlib.Path(os.environ["DISSENT_SOURCE_DIR"]) / "scripts" / "download"
COLUMNS = ["name", "group", "url", "bytes", "checksum", "target", "note"]
CONTENT = random.Random(1).randbytes(3_000_000)


class Server(http.server.BaseHTTPRequestHandler):
    """Gives CONTENT: under /ranges from where it is asked to, under /whole always all of it, under /breaks half of what it promises."""

    requested = []

    def do_GET(self):
        begin = self.headers.get("Range")
        Server.requested.append((self.path, begin))
        offset = int(begin.removeprefix("bytes=").removesuffix("-")) if begin and self.path == "/ranges" else 0
        if offset >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if offset else 200)
        if offset:
            self.send_header("Content-Range", f"bytes {offset}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - offset))
        self.end_headers()
        self.wfile.write(CONTENT[offset:] if self.path != "/breaks" else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *arguments):
        pass


class DownloadTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.source = self.folder / "source.bin"
        self.source.write_bytes(CONTENT)
        self.target = self.folder / "to" / "set" / "file.bin"
        self.part = self.target.with_name("file.bin.part")
        self.rows = []

    def add(self, name="file", url=None, size=len(CONTENT), checksum="sha256:" + hashlib.sha256(CONTENT).hexdigest(), target="set/file.bin", note=""):
        url = self.source.as_uri() if url is None else url
        self.rows.append([name, "group", url, size, checksum, target, note])

    def run_script(self, *arguments, code=0, path=None):
        table = self.folder / "table.csv"
        with open(table, "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *self.rows])
        environment = {**os.environ, **({"PATH": path} if path else {})}
        done = subprocess.run([sys.executable, SCRIPT, "--table", table, "--to", self.folder / "to", *arguments], capture_output=True, text=True, env=environment)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def keep_part(self, content):
        self.part.parent.mkdir(parents=True)
        self.part.write_bytes(content)

    def assert_whole(self):
        self.assertEqual(self.target.read_bytes(), CONTENT)
        self.assertFalse(self.part.exists())

    def server(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        Server.requested.clear()
        return f"http://127.0.0.1:{server.server_port}"

    def test_fetched_checked_and_renamed(self):
        self.add()
        self.assertIn("fetched, sha256 holds", self.run_script("--only", "file"))
        self.assert_whole()
        self.source.unlink()  # a second run needs no source
        self.assertIn("is there, sha256 holds", self.run_script("--only", "group"))

    def test_interrupted_goes_on(self):
        self.add()
        self.keep_part(CONTENT[:1_234_567])
        self.assertIn("goes on at byte 1234567", self.run_script("--only", "file"))
        self.assert_whole()

    def test_going_on_does_not_read_the_beginning_again(self):
        self.source.write_bytes(bytes(1_000_000) + CONTENT[1_000_000:])
        self.add()
        self.keep_part(CONTENT[:1_000_000])
        self.run_script("--only", "file")
        self.assert_whole()

    def test_whole_part_is_only_checked(self):
        self.add(url="file:///nowhere")
        self.keep_part(CONTENT)
        self.run_script("--only", "file")
        self.assert_whole()

    def test_cut_off_source_keeps_the_part(self):
        self.source.write_bytes(CONTENT[:500_000])
        self.add()
        self.assertIn("500000 bytes, expected 3000000; run again to go on", self.run_script("--only", "file", code=3))
        self.assertFalse(self.target.exists())
        self.source.write_bytes(CONTENT)
        self.assertIn("goes on at byte 500000", self.run_script("--only", "file"))
        self.assert_whole()

    def test_wrong_checksum_is_removed(self):
        self.add(checksum="md5:" + "0" * 32)
        self.assertIn(f"md5 {hashlib.md5(CONTENT).hexdigest()}, expected {'0' * 32}; removed", self.run_script("--only", "file", code=3))
        self.assertFalse(self.target.exists() or self.part.exists())

    def test_damaged_target_is_named(self):
        self.add()
        self.run_script("--only", "file")
        self.target.write_bytes(CONTENT[:-1] + b"?")
        self.assertIn("expected", self.run_script("--only", "file", code=3))

    def test_others_are_fetched_when_one_is_missing(self):
        self.add("gone", url=(self.folder / "gone.bin").as_uri(), target="gone.bin")
        self.add("unknown", url="", target="unknown.bin", note="ask the authors")
        self.add("file", size="", checksum="")
        said = self.run_script("--only", "group", code=3)
        self.assertIn("gone.bin: No such file or directory", said)
        self.assertIn("has no address in the table: ask the authors", said)
        self.assertIn("unchecked: the table has neither size nor checksum", said)
        self.assertIn("2 of 3 missing", said)
        self.assert_whole()

    def test_drive_without_gdown(self):
        self.add(url="gdrive:1abc")
        empty = self.folder / "empty"
        empty.mkdir()
        self.assertIn("by hand: https://drive.google.com/uc?id=1abc, saved as", self.run_script("--only", "file", code=3, path=str(empty)))

    def test_server_with_ranges(self):
        self.add(url=self.server() + "/ranges")
        self.keep_part(CONTENT[:2_000_000])
        self.assertIn("goes on at byte 2000000", self.run_script("--only", "file"))
        self.assert_whole()
        self.assertEqual(Server.requested, [("/ranges", "bytes=2000000-")])

    def test_server_without_ranges(self):
        self.add(url=self.server() + "/whole")
        self.keep_part(CONTENT[:2_000_000])
        self.assertIn("cannot go on at byte 2000000: from the start", self.run_script("--only", "file"))
        self.assert_whole()

    def test_server_that_breaks_off(self):
        self.add(url=self.server() + "/breaks", size="", checksum="")
        self.assertIn("run again to go on", self.run_script("--only", "file", code=3))
        self.assertEqual(self.part.stat().st_size, len(CONTENT) // 2)
        self.assertFalse(self.target.exists())

    def test_whole_part_of_unknown_size_on_a_server(self):
        self.add(url=self.server() + "/ranges", size="")
        self.keep_part(CONTENT)
        self.run_script("--only", "file")
        self.assert_whole()

    def test_wrong_usage(self):
        self.add()
        self.assertIn("no name or group 'fil'", self.run_script("--only", "fil", code=2))
        self.assertIn("--list", self.run_script(code=2))
        self.assertIn("set/file.bin", self.run_script("--list"))

    def test_table_of_the_project(self):
        with open(SCRIPT.with_name("downloads.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertGreater(len(rows), 50)
        for column in ("name", "target"):
            self.assertEqual(len({row[column] for row in rows}), len(rows), column)
        for row in rows:
            self.assertRegex(row["checksum"], r"^$|^md5:[0-9a-f]{32}$|^sha256:[0-9a-f]{64}$", row["name"])
            self.assertRegex(row["url"], r"^$|^https?://\S+$|^gdrive:[\w-]+$", row["name"])
            self.assertRegex(row["bytes"], r"^\d*$", row["name"])
            self.assertTrue(row["url"] or row["note"], row["name"])


if __name__ == "__main__":
    unittest.main()
