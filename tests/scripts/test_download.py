"""scripts/download on tables of its own and on rows of the project's: files by file:// and from a server on this machine, interrupted, resumed,
damaged, unpacked, missing."""
import csv
import gzip
import hashlib
import http.server
import io
import itertools
import lzma
import os
import pathlib
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import tomllib
import unittest
import zipfile

ROOT = pathlib.Path(os.environ["DISSENT_SOURCE_DIR"])
SCRIPT = ROOT / "scripts" / "download"
COLUMNS = ["name", "groups", "url", "about", "bytes", "checksum", "file", "unpack", "target", "contains", "note"]
CONTENT = random.Random(1).randbytes(3_000_000)
CORRUPTIONS = [
    "Brightness", "Contrast", "Defocus Blur", "Elastic Transform", "Fog", "Frost", "Gaussian Noise", "Glass Blur", "Impulse Noise",
    "JPEG Compression", "Motion Blur", "Pixelate", "Shot Noise", "Snow", "Zoom Blur",
]  # fmt: skip


class Server(http.server.BaseHTTPRequestHandler):
    """Gives `content`: under /ranges from where it is asked to, under /whole always all of it, under /breaks half of what is left, under /once
    half of it the first time."""

    content = CONTENT
    requested = []

    def do_GET(self):
        content = Server.content
        begin = self.headers.get("Range")
        Server.requested.append((self.path, begin))
        offset = int(begin.removeprefix("bytes=").removesuffix("-")) if begin and self.path != "/whole" else 0
        if offset >= len(content):
            return self.send_error(416)
        self.send_response(206 if offset else 200)
        if offset:
            self.send_header("Content-Range", f"bytes {offset}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - offset))
        self.end_headers()
        half = self.path == "/breaks" or self.path == "/once" and len(Server.requested) == 1
        self.wfile.write(content[offset : offset + (len(content) - offset) // 2] if half else content[offset:])

    def log_message(self, *arguments):
        pass


def tar_of(members, mode="w:gz"):
    """An archive with files (name: bytes), folders (name: None) and symbolic links (name: text)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            file.addfile(member, io.BytesIO(content if isinstance(content, bytes) else b""))
    return buffer.getvalue()


def zip_of(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def sed_caches(top="cached/"):
    names = ["in_val_deit3b_-1.hdf5", *(f"{name}_deit3b_-1_.hdf5" for name in ("in_a", "in_r", "inat", "oi"))]
    for corruption, severity in itertools.product(CORRUPTIONS, (1, 5)):
        names.append(f"{corruption}_{severity}/0123_torch_load_block_-1_model_{corruption}_{severity}_dataset_1_epochs_50000_samples.hdf5")
    return {top + name: name.encode() for name in names}


def project_rows():
    with open(SCRIPT.with_name("downloads.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def expanded(pattern):
    match = re.search(r"\{([^{}]*)\}", pattern)
    if not match:
        return [pattern]
    return [text for part in match[1].split(",") for text in expanded(pattern[: match.start()] + part + pattern[match.end() :])]


class DownloadCase(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.to = self.folder / "to"
        self.source = self.folder / "source.bin"
        self.source.write_bytes(CONTENT)
        self.target = self.to / "set" / "file.bin"
        self.part = self.target.with_name("file.bin.part")
        self.rows = []

    def add(self, name="file", url=None, bytes=len(CONTENT), checksum="sha256:" + hashlib.sha256(CONTENT).hexdigest(), target="set/file.bin", **more):
        row = {"name": name, "groups": "group", "url": self.source.as_uri() if url is None else url, "bytes": bytes, "checksum": checksum, "target": target}
        self.rows.append({**dict.fromkeys(COLUMNS, ""), **row, **more})

    def add_archive(self, content, file, name="set", target="sets/set", contains="", **more):
        """A row whose archive lies on this machine."""
        source = self.folder / f"source-{file}"
        source.write_bytes(content)
        self.add(name, source.as_uri(), len(content), "md5:" + hashlib.md5(content).hexdigest(), target, file=file, contains=contains, **more)
        return source

    def add_project_row(self, name, content=None, **changes):
        """A row of the project's table, whose address is a file of this machine."""
        row = next(row for row in project_rows() if row["name"] == name)
        source = self.folder / f"source-{name}"
        if content is not None:
            source.write_bytes(content)
        self.rows.append({**row, **({"url": source.as_uri(), "bytes": "", "checksum": ""} if content is not None else {}), **changes})

    def run_script(self, *arguments, code=0, gdown=""):
        table = self.folder / "table.csv"
        with open(table, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        environment = {**os.environ, "DISSENT_GDOWN": str(gdown)}
        command = [sys.executable, SCRIPT, "--table", table, "--to", self.to, "--tries", "1", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def server(self, content=CONTENT):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        Server.requested.clear()
        Server.content = content
        return f"http://127.0.0.1:{server.server_port}"

    def tree(self):
        """All files below the folder of targets, hidden ones too."""
        return sorted(str(path.relative_to(self.to)) for path in self.to.rglob("*") if not path.is_dir())


class FetchTest(DownloadCase):
    def keep_part(self, content):
        self.part.parent.mkdir(parents=True)
        self.part.write_bytes(content)

    def assert_whole(self):
        self.assertEqual(self.target.read_bytes(), CONTENT)
        self.assertEqual(self.tree(), ["set/file.bin"])

    def test_fetched_checked_and_renamed(self):
        self.add()
        self.assertIn("fetched, sha256 matches", self.run_script("file"))
        self.assert_whole()
        self.source.unlink()  # a second run needs no source
        self.assertIn("exists, sha256 matches", self.run_script("group"))

    def test_only_is_the_same(self):
        self.add()
        self.run_script("--only", "file")
        self.assert_whole()

    def test_names_with_dashes_or_underscores(self):
        self.add("a-file")
        self.run_script("A_file")
        self.assert_whole()

    def test_interrupted_goes_on(self):
        self.add()
        self.keep_part(CONTENT[:1_234_567])
        self.assertIn("resumes at byte 1234567", self.run_script("file"))
        self.assert_whole()

    def test_going_on_does_not_read_the_beginning_again(self):
        self.source.write_bytes(bytes(1_000_000) + CONTENT[1_000_000:])
        self.add()
        self.keep_part(CONTENT[:1_000_000])
        self.run_script("file")
        self.assert_whole()

    def test_whole_part_is_only_checked(self):
        self.add(url="file:///nowhere")
        self.keep_part(CONTENT)
        self.run_script("file")
        self.assert_whole()

    def test_cut_off_source_keeps_the_part(self):
        self.source.write_bytes(CONTENT[:500_000])
        self.add()
        self.assertIn("500000 bytes, expected 3000000; run again to resume", self.run_script("file", code=3))
        self.assertFalse(self.target.exists())
        self.source.write_bytes(CONTENT)
        self.assertIn("resumes at byte 500000", self.run_script("file"))
        self.assert_whole()

    def test_wrong_checksum_is_removed(self):
        self.add(checksum="md5:" + "0" * 32)
        self.assertIn(f"md5 {hashlib.md5(CONTENT).hexdigest()}, expected {'0' * 32}; removed", self.run_script("file", code=3))
        self.assertEqual(self.tree(), [])

    def test_web_page_is_no_file(self):
        self.source.write_text("<!DOCTYPE html><title>quota</title>")
        self.add(bytes="", checksum="")
        self.assertIn("expected the file itself, found a web page; removed", self.run_script("file", code=3))
        self.assertEqual(self.tree(), [])

    def test_damaged_target_is_named(self):
        self.add()
        self.run_script("file")
        self.target.write_bytes(CONTENT[:-1] + b"?")
        self.assertIn("expected", self.run_script("file", code=3))

    def test_others_are_fetched_when_one_is_missing(self):
        self.add("gone", url=(self.folder / "gone.bin").as_uri(), target="gone.bin")
        self.add("unknown", url="", target="unknown.bin", note="ask the authors")
        self.add("file", bytes="", checksum="")
        said = self.run_script("group", code=3)
        self.assertIn("gone.bin: No such file or directory", said)
        self.assertIn(f"unknown: cannot be fetched automatically: ask the authors; expected at {self.to / 'unknown.bin'}", said)
        self.assertIn("unchecked: the table has neither size nor checksum", said)
        self.assertIn("2 of 3 missing", said)
        self.assert_whole()

    def test_no_room(self):
        self.add(bytes=10**18)
        self.assertRegex(self.run_script("file", code=3), r"the download needs 1000000000.0 GB in \S+, which has .* left")
        self.assertEqual(self.tree(), [])

    def test_drive_without_gdown(self):
        self.add(url="gdrive:1abc")
        said = self.run_script("file", code=3)
        self.assertIn("gdown is not installed (scripts/download --install-gdown installs it)", said)
        self.assertIn(f"by hand: https://drive.google.com/uc?id=1abc, saved as {self.target}", said)

    def gdown(self, text):
        program = self.folder / "gdown"
        program.write_text("#!/bin/sh\n" + text)
        program.chmod(0o755)
        return program

    def test_drive_with_gdown(self):
        self.add(url="gdrive:1abc")
        gdown = self.gdown(f'[ "$1 $2 $3" = "--continue https://drive.google.com/uc?id=1abc -O" ] && cp {self.source} "$4"\n')
        self.assertIn("fetched, sha256 matches", self.run_script("file", gdown=gdown))
        self.assert_whole()

    def test_drive_that_refuses(self):
        self.add(url="gdrive:1abc")
        self.assertIn("gdown could not fetch 1abc", self.run_script("file", code=3, gdown=self.gdown("exit 1\n")))
        self.assertEqual(self.tree(), [])

    def test_server_with_ranges(self):
        self.add(url=self.server() + "/ranges")
        self.keep_part(CONTENT[:2_000_000])
        self.assertIn("resumes at byte 2000000", self.run_script("file"))
        self.assert_whole()
        self.assertEqual(Server.requested, [("/ranges", "bytes=2000000-")])

    def test_server_without_ranges(self):
        self.add(url=self.server() + "/whole")
        self.keep_part(CONTENT[:2_000_000])
        self.assertIn("cannot resume at byte 2000000: starting from the beginning", self.run_script("file"))
        self.assert_whole()

    def test_server_that_breaks_off(self):
        self.add(url=self.server() + "/breaks", bytes="", checksum="")
        self.assertIn("run again to resume", self.run_script("file", code=3))
        self.assertEqual(self.part.stat().st_size, len(CONTENT) // 2)
        self.assertFalse(self.target.exists())

    def test_server_that_breaks_off_once_is_asked_again(self):
        self.add(url=self.server() + "/once")
        self.assertIn("retrying in 1 s", self.run_script("file", "--tries", "2"))
        self.assert_whole()
        self.assertEqual(Server.requested, [("/once", None), ("/once", f"bytes={len(CONTENT) // 2}-")])

    def test_whole_part_of_unknown_size_on_a_server(self):
        self.add(url=self.server() + "/ranges", bytes="")
        self.keep_part(CONTENT)
        self.run_script("file")
        self.assert_whole()

    def test_wrong_usage(self):
        self.add()
        self.assertIn("no name or group 'fil' in the table; the nearest is 'file'", self.run_script("fil", code=2))
        self.assertIn("expected a name or group", self.run_script(code=2))
        self.assertIn("set/file.bin", self.run_script("--list"))
        self.assertIn("expected a number >= 1", self.run_script("file", "--tries", "0", code=2))
        self.rows[0]["target"] = "../file.bin"
        self.assertIn("a target below the folder, found '../file.bin'", self.run_script("file", code=2))
        self.rows[0] |= {"target": "file.bin", "bytes": "5 GB"}
        self.assertIn("table.csv:2: file: bytes: expected a number or nothing, found '5 GB'", self.run_script("file", code=2))


class UnpackTest(DownloadCase):
    def test_kinds_of_archives(self):
        members = {"a/one.txt": b"1", "b/two.txt": b"2"}
        archives = {
            "set.zip": zip_of(members), "set.tar": tar_of(members, "w"), "set.tar.gz": tar_of(members), "set.tgz": tar_of(members),
            "set.tar.xz": tar_of(members, "w:xz"),
        }  # fmt: skip
        for number, (file, content) in enumerate(archives.items()):
            self.add_archive(content, file, name=f"set{number}", target=f"sets/{number}", contains="{a/one,b/two}.txt")
        self.assertEqual(self.run_script("group").count("md5 matches; unpacking"), len(archives))
        self.assertEqual(self.tree(), sorted(f"sets/{number}/{name}" for number in range(len(archives)) for name in members))
        self.assertEqual(self.run_script("group").count("exists: "), len(archives))

    def test_single_files(self):
        self.add_archive(gzip.compress(b"idx"), "labels.gz", target="sets/labels")
        self.add_archive(lzma.compress(b"text"), "text.xz", name="text", target="sets/text")
        self.run_script("group")
        self.assertEqual(self.tree(), ["sets/labels", "sets/text"])
        self.assertEqual((self.to / "sets/labels").read_bytes(), b"idx")
        self.assertIn("exists: ", self.run_script("group"))

    def test_folder_in_the_archive_becomes_the_target(self):
        self.add_archive(zip_of({"set/a.txt": b"", "__MACOSX/set/._a.txt": b"", "set/.DS_Store": b""}), "one.zip", name="one")
        self.add_archive(zip_of({"test_filtered/a.txt": b""}), "two.zip", name="two", target="sets/two", contains="a.txt")
        self.add_archive(zip_of({"test_filtered/a.txt": b""}), "three.zip", name="three", target="sets/three", contains="**/*.txt")
        self.add_archive(zip_of({"four/b/a.txt": b""}), "four.zip", name="four", target="sets/four", contains="**/*.txt")
        self.run_script("group")
        self.assertEqual(self.tree(), ["sets/four/b/a.txt", "sets/set/a.txt", "sets/three/test_filtered/a.txt", "sets/two/a.txt"])

    def test_missing_member_is_named_and_nothing_is_unpacked(self):
        self.add_archive(zip_of({"a.txt": b"", "images/1.png": b""}), "set.zip", contains="{a,b,c}.txt;images/*=2;d.txt;e.txt")
        said = self.run_script("set", code=3)
        self.assertIn("set.zip: lacks b.txt, c.txt, images/* (2 expected, 1 found) and 2 more; nothing was unpacked", said)
        self.assertEqual(self.tree(), ["sets/set.zip"])
        self.assertIn("lacks b.txt", self.run_script("set", code=3))

    def test_damaged_archive_is_removed(self):
        whole = tar_of({"a.txt": CONTENT, "b.txt": CONTENT})
        for number, damaged in enumerate((whole[: len(whole) // 2], whole[:1000], b"no archive", zip_of({"a": b""}))):
            with self.subTest(number):
                self.rows.clear()
                self.add_archive(damaged, "set.tar.gz", contains="a.txt")
                self.assertIn("damaged or incomplete", self.run_script("set", code=3))
                self.assertEqual(self.tree(), [])

    def test_damaged_archive_of_a_person_is_kept(self):
        self.add("set", "", "", "", "sets/set", file="set.zip", note="log in at example.org")
        self.assertIn(f"log in at example.org; expected at {self.to / 'sets/set.zip'}", self.run_script("set", code=3))
        archive = self.to / "sets/set.zip"
        archive.parent.mkdir(parents=True)
        archive.write_bytes(b"PK no zip")
        self.assertIn("Remove the file to fetch it again", self.run_script("set", code=3))
        archive.write_bytes(zip_of({"a.txt": b""}))
        self.run_script("set")
        self.assertEqual(self.tree(), ["sets/set/a.txt"])

    def test_zip_with_a_wrong_byte(self):
        content = bytearray(zip_of({"a.txt": CONTENT}))
        content[len(content) // 2] ^= 1
        self.add_archive(bytes(content), "set.zip")
        self.assertIn("damaged or incomplete", self.run_script("set", code=3))
        self.assertEqual(self.tree(), [])

    def test_members_outside_the_folder(self):
        outside = (tar_of({"../a.txt": b""}), tar_of({"/tmp/a.txt": b""}), tar_of({"a": "../../b"}), tar_of({"a": "/etc"}))
        for number, content in enumerate(outside):
            with self.subTest(number):
                self.rows.clear()
                self.add_archive(content, f"{number}.tar.gz", target=f"sets/{number}")
                self.assertRegex(self.run_script("set", code=3), "outside the archive's folder|leads out of the archive's folder")
                self.assertFalse((self.to / f"sets/{number}").exists())

    def test_broken_off_unpacking_begins_anew(self):
        self.add_archive(zip_of({"a.txt": b"new", "b.txt": b""}), "set.zip", contains="{a,b}.txt")
        rest = self.to / "sets/.set.unpacking"
        rest.mkdir(parents=True)
        (rest / "a.txt").write_bytes(b"half")
        self.assertIn("partly unpacked", self.run_script("set", "--dry-run"))
        self.assertIn("an earlier unpacking was interrupted: starting again", self.run_script("set"))
        self.assertEqual(self.tree(), ["sets/set/a.txt", "sets/set/b.txt"])
        self.assertEqual((self.to / "sets/set/a.txt").read_bytes(), b"new")

    def test_killed_while_unpacking(self):
        """Killed in the midst of it, whenever that is: no target that is not whole, and the next run ends well."""
        members = {f"{number}.bin": CONTENT[:200_000] for number in range(200)}
        self.add_archive(zip_of(members), "set.zip", contains="*.bin=200")
        self.run_script("set", "--dry-run")  # writes the table
        command = [sys.executable, SCRIPT, "--table", self.folder / "table.csv", "--to", self.to, "set"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (self.to / "sets/.set.unpacking/9.bin").exists():
            pass
        process.kill()
        process.wait()
        if (self.to / "sets/set").exists():  # it was faster than this test
            self.assertEqual(len(list((self.to / "sets/set").iterdir())), 200)
        else:
            self.assertIn("partly unpacked", self.run_script("set", "--dry-run"))
        self.run_script("set")
        self.assertEqual(self.tree(), sorted(f"sets/set/{name}" for name in members))

    def test_two_archives_in_one_folder(self):
        self.add_archive(tar_of({"fog/1/a.png": b"", "snow/1/a.png": b""}, "w"), "weather.tar", name="weather", contains="{fog,snow}/1")
        self.add_archive(tar_of({"noise/1/a.png": b""}, "w"), "noise.tar", name="noise", contains="noise/1")
        self.assertRegex(self.run_script("weather"), "unpacked")
        self.assertRegex(self.run_script("group", "--dry-run"), r"weather +complete[^\n]*\nnoise +missing")
        self.run_script("noise")
        self.assertEqual(self.tree(), ["sets/set/fog/1/a.png", "sets/set/noise/1/a.png", "sets/set/snow/1/a.png"])
        (self.to / "sets/set/fog/1/a.png").unlink()
        (self.to / "sets/set/fog/1").rmdir()
        self.assertIn("incomplete: lacks fog/1", self.run_script("weather", "--dry-run"))
        self.run_script("weather")
        self.assertTrue((self.to / "sets/set/fog/1/a.png").exists())

    def test_files_that_are_there_are_kept(self):
        place = self.to / "sets/set/lists"
        place.mkdir(parents=True)
        for name in ("same", "other", "own"):
            (place / name).write_text(name)
        self.add_archive(zip_of({"lists/same": b"same", "lists/other": b"theirs", "lists/new": b"new"}), "set.zip", contains="lists/new")
        said = self.run_script("set")
        self.assertIn("lists/other already exists and differs from the file in the archive: kept", said)
        self.assertNotIn("lists/same already exists", said)
        self.assertEqual({path.name: path.read_text() for path in place.iterdir()}, {"same": "same", "other": "other", "own": "own", "new": "new"})

    def test_archive_is_kept_where_asked(self):
        self.add_archive(zip_of({"a.txt": b""}), "set.zip")
        self.run_script("set", "--keep-archives")
        self.assertEqual(self.tree(), ["sets/set.zip", "sets/set/a.txt"])

    def test_archive_from_a_server_interrupted_and_resumed(self):
        content = tar_of({f"set/{number}": CONTENT[:50_000] for number in range(30)}, "w")
        self.add("set", self.server(content) + "/breaks", len(content), "", "sets/set", file="set.tar", contains="*=30")
        self.assertIn("run again to resume", self.run_script("set", code=3))
        self.assertIn("kB fetched" if len(content) < 2_000_000 else "fetched", self.run_script("set", "--dry-run"))
        self.rows[0]["url"] = self.rows[0]["url"].replace("breaks", "ranges")
        self.assertIn(f"resumes at byte {len(content) // 2}", self.run_script("set"))
        self.assertEqual(len(self.tree()), 30)

    def test_links(self):
        self.add("link", "link:sets/train", "", "", "other/train", note="fetch train first")
        self.assertIn("sets/train, which does not exist. fetch train first", self.run_script("link", code=3))
        (self.to / "sets/train").mkdir(parents=True)
        self.run_script("link")
        self.assertEqual(os.readlink(self.to / "other/train"), "../sets/train")
        self.assertIn("exists", self.run_script("link"))

    def test_dry_run_changes_nothing(self):
        self.add(url="gdrive:1abc")
        self.add_archive(zip_of({"a.txt": b""}), "set.zip", about="5 GB", target="sets/set")
        self.rows[1]["bytes"] = ""
        said = self.run_script("group", "--dry-run")
        self.assertRegex(said, rf"file +missing +3\.0 MB +{self.to}/set/file.bin +https://drive.google.com/uc\?id=1abc")
        self.assertRegex(said, rf"set +missing +5 GB +{self.to}/sets/set +file://")
        self.assertIn("2 of 2 to fetch: 3.0 MB and 1 whose size is not known exactly", said)
        self.assertFalse(self.to.exists())


class ProjectTableTest(DownloadCase):
    """Rows of scripts/downloads.csv, their addresses replaced: what they leave is what the configurations read."""

    def test_form(self):
        rows = project_rows()
        self.assertGreater(len(rows), 50)
        names = [row["name"] for row in rows]
        self.assertEqual(len(set(names)), len(names))
        self.assertFalse(set(names) & {group for row in rows for group in row["groups"].split(";")})
        targets = {}
        for row in rows:
            self.assertRegex(row["name"], r"^[a-z0-9-]+$")
            self.assertRegex(row["checksum"], r"^$|^md5:[0-9a-f]{32}$|^sha256:[0-9a-f]{64}$", row["name"])
            self.assertRegex(row["url"], r"^$|^https?://\S+$|^gdrive:[\w-]{20,}$|^link:data/\S+$", row["name"])
            self.assertRegex(row["bytes"], r"^\d*$", row["name"])
            self.assertTrue(row["url"] or row["note"], row["name"])
            targets.setdefault(row["target"], []).append(row)
        for target, sharing in targets.items():  # what tells apart whether each of them is there
            if len(sharing) > 1:
                self.assertTrue(all(row["contains"] for row in sharing), target)

    def test_names_that_documents_use(self):
        said = self.project_run("sed-models", "sed-caches", "deit3-base", "openood-lists", "cifar10", "sdde-resnet50", "--dry-run")
        for text in ("models/symlinked/ood_gen.pkl", "data/datasets/cached", "data/weights/deit_3_base_224_21k.pth", "data/benchmark_imglist",
                     "data/images_classic/cifar10", "results/checkpoints", "9 of 9 to fetch"):  # fmt: skip
            self.assertIn(text, said)

    def project_run(self, *arguments):
        done = subprocess.run([sys.executable, SCRIPT, "--to", self.to, *arguments], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_every_name_in_the_project_is_in_the_table(self):
        known = {"all"} | {name for row in project_rows() for name in (row["name"], *row["groups"].split(";"))}
        found = 0
        for path in [*ROOT.glob("docs/*.md"), ROOT / "README.md", *ROOT.glob("configs/**/*.toml"), *ROOT.glob("src/data/**/*.cpp")]:
            for match in re.finditer(r"scripts/download((?: +[a-z0-9][a-z0-9_-]*(?![\w/-]))+)", path.read_text(encoding="utf-8")):
                for name in match[1].split():
                    if name in ("first", "again", "and", "then", "with", "or", "prints", "names", "fetches"):
                        break
                    found += 1
                    self.assertIn(name.replace("_", "-"), known, path)
        self.assertGreater(found, 5)

    def test_lists_of_the_configurations(self):
        there = {}
        for row in project_rows():
            if row["name"] in ("sdde-lists", "openood-lists"):
                there[row["name"]] = {f"data/benchmark_imglist/{path}" for item in row["contains"].split(";") for path in expanded(item)}
        count = 0
        for name in ("mnist", "cifar10", "cifar100", "imagenet200", "imagenet"):
            for path in (ROOT / f"configs/data/{name}.toml", ROOT / f"configs/sdde/{name}/base.toml"):
                text = path.read_text(encoding="utf-8")
                for table in re.findall(r'^list = "(.*)"', text, re.MULTILINE):
                    count += 1
                    self.assertTrue(any(table in lists for lists in there.values()), f"{path}: {table}")
        self.assertGreater(count, 40)

    def test_targets_of_the_configurations(self):
        targets = {row["target"] for row in project_rows()}

        def has(place):
            return any(target == place or target.startswith(place + "/") or place.startswith(target + "/") for target in targets)

        places = set()

        def collect(table):
            for key, value in table.items():
                if isinstance(value, dict):
                    collect(value)
                elif isinstance(value, list) and value and isinstance(value[0], dict):
                    [collect(item) for item in value]
                elif key in ("root", "weights"):
                    places.add(value)

        for path in [*ROOT.glob("configs/data/*.toml"), *ROOT.glob("configs/sdde/**/*.toml"), *ROOT.glob("configs/sed/caching*.toml")]:
            collect(tomllib.loads(path.read_text(encoding="utf-8")))
        self.assertGreater(len(places), 8)
        self.assertEqual([place for place in sorted(places) if not has(place)], [])

    def test_sed_caches(self):
        self.add_project_row("sed-caches", tar_of(sed_caches()))
        own = self.to / "data/datasets/cached/in_train_deit3b_-1_4_epochs.hdf5"
        own.parent.mkdir(parents=True)
        own.write_bytes(b"cached here")
        self.run_script("sed-caches")
        cached = self.to / "data/datasets/cached"
        self.assertEqual(len(list(cached.glob("*_1/*.hdf5"))), 15)
        self.assertEqual(len(list(cached.glob("*_5/*.hdf5"))), 15)
        self.assertEqual(len(list(cached.glob("*.hdf5"))), 6)
        self.assertEqual(own.read_bytes(), b"cached here")
        self.assertIn("exists: ", self.run_script("sed-caches"))
        self.assertEqual([path.name for path in cached.parent.iterdir()], ["cached"])

    def test_sed_caches_with_a_missing_member(self):
        members = sed_caches()
        del members[next(name for name in members if "Fog_5/" in name)]
        self.add_project_row("sed-caches", tar_of(members))
        self.assertIn("lacks Fog_5/*.hdf5; nothing was unpacked", self.run_script("sed-caches", code=3))
        self.assertFalse((self.to / "data/datasets/cached").exists())

    def test_sed_models(self):
        for name in ("50-models", "ood-det-cov", "ood-det-sem", "ood-gen"):
            self.add_project_row(f"sed-model-{name}", name.encode())
        self.run_script("sed-models")
        self.assertEqual(self.tree(), [f"models/symlinked/{name}.pkl" for name in ("50_models", "ood_det_cov", "ood_det_sem", "ood_gen")])

    def test_openood_images_and_lists(self):
        names = [path for row in project_rows() if row["name"] == "openood-lists" for item in row["contains"].split(";") for path in expanded(item)]
        lists = {f"benchmark_imglist/{name}": b"" for name in names}
        lists["benchmark_imglist/cifar10/test_cifar10.txt"] = b"cifar10/test/cat/1.png 3\ncifar10/test/a dog/2.png 5\n"
        self.add_project_row("openood-lists", zip_of(lists))
        self.add_project_row("cifar10", zip_of({"test/cat/1.png": b"", "test/a dog/2.png": b"", "train/cat/3.png": b""}))
        said = self.run_script("openood")
        self.assertTrue((self.to / "data/benchmark_imglist/imagenet/test_ninco.txt").exists())
        self.assertTrue((self.to / "data/images_classic/cifar10/test/a dog/2.png").exists())
        self.assertNotIn("warning", said)
        self.rows.clear()
        self.add_project_row("cifar10", zip_of({"cifar10/test/cat/1.png": b""}), target="data/images_classic/again/cifar10")
        said = self.run_script("cifar10")
        self.assertIn("lacks 1 of 2 images that lists name, first test/a dog/2.png", said)
        self.assertTrue((self.to / "data/images_classic/again/cifar10/test/cat/1.png").exists())

    def test_openood_weights(self):
        folder = "cifar10_resnet18_32x32_base_e100_lr0.1_default"
        self.add_project_row("openood-cifar10-res18", zip_of({f"{folder}/s{seed}/best.ckpt": b"" for seed in range(3)}))
        self.add_project_row("sdde-resnet50", zip_of({"imagenet_res50_acc76.10.pth": b"weights"}))
        self.run_script("openood-weights")
        self.assertTrue((self.to / f"results/{folder}/s2/best.ckpt").exists())
        self.assertTrue((self.to / "results/checkpoints/imagenet_res50_acc76.10.pth").exists())

    def test_imagenet_placed_by_hand(self):
        self.add_project_row("sed-imagenet-train", checksum="", contains="n*=2")
        self.add_project_row("sed-imagenet-val", checksum="", contains="n*=2")
        self.add_project_row("imagenet-train")
        place = self.to / "data/datasets/ImageNet2012"
        self.assertIn(f"expected at {place / 'ILSVRC2012_img_train.tar'}", self.run_script("sed-imagenet-train", code=3))
        place.mkdir(parents=True)
        classes = {name: tar_of({f"{name}_{number}.JPEG": b"" for number in range(2)}, "w") for name in ("n01440764", "n01443537")}
        (place / "ILSVRC2012_img_train.tar").write_bytes(tar_of({f"{name}.tar": content for name, content in classes.items()}, "w"))
        (place / "ILSVRC2012_img_val.tar").write_bytes(tar_of({f"ILSVRC2012_val_0000000{number}.JPEG": b"" for number in (1, 2, 3)}, "w"))
        self.assertIn("scripts/download openood-lists first", self.run_script("sed-imagenet-val", code=3))
        lists = self.to / "data/benchmark_imglist/imagenet"
        lists.mkdir(parents=True)
        (lists / "val_imagenet.txt").write_text("imagenet_1k/val/ILSVRC2012_val_00000002.JPEG 1\n")
        (lists / "test_imagenet.txt").write_text("imagenet_1k/val/ILSVRC2012_val_00000001.JPEG 0\nimagenet_1k/val/ILSVRC2012_val_00000003.JPEG 1\n")
        self.run_script("imagenet")
        self.assertEqual(
            sorted(str(path.relative_to(place)) for path in place.rglob("*.JPEG")),
            [f"train/{name}/{name}_{number}.JPEG" for name in classes for number in range(2)]
            + ["val/n01440764/ILSVRC2012_val_00000001.JPEG", "val/n01443537/ILSVRC2012_val_00000002.JPEG", "val/n01443537/ILSVRC2012_val_00000003.JPEG"],
        )
        self.assertTrue((self.to / "data/images_largescale/imagenet_1k/train/n01440764/n01440764_0.JPEG").exists())

    def test_what_is_not_to_be_had_says_why(self):
        for name in ("sed-imagenet-train", "sdde-checkpoints", "sdde-c1-lists"):
            self.add_project_row(name)
        said = self.run_script("all", code=3)
        for text in ("log in at https://image-net.org/download.php", "publishes no trained ensembles", "publishes neither them nor the code that makes them"):
            self.assertIn(text, said)

    def test_mnist(self):
        for name in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
            self.add_project_row(f"mnist-{name}", gzip.compress(b"idx"))
        self.run_script("mnist-original")
        self.assertEqual(self.tree(), sorted(f"data/mnist/{name}" for name in (
            "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")))  # fmt: skip


if __name__ == "__main__":
    unittest.main()
