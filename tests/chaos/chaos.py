#!/usr/bin/env python3
"""Chaos: disturbs the program at random and looks whether it keeps what docs/reliability.md promises.

A *way* is one use of the program (heads on a cache, images, a cache of features, an evaluation, a sheet on this machine, a sheet on Slurm) with what it has to
leave behind: the files of a run that nothing disturbed. A *trial* starts the way in a fresh folder one to four times, each time on another layout (ranks,
grid, residency, threads) and with another disturbance (signals, kills, ranks that stand still, full, broken and slow disks, damaged checkpoints), then once
more without any. Held are:

1. every start ends, within the timeout of the run and a grace for a loaded machine, and leaves no process behind;
2. exit code 0 is only said by a start whose files are those of the undisturbed run; any other code comes with an error line, or is that of a signal or
   of a stop with a checkpoint;
3. no start loses a checkpoint: one that was there is still there, readable, and not of an earlier step;
4. the last start ends with 0 and the bytes of the undisturbed run, and no temporary file is left.

The draws are those of the seed; when they hit still depends on the machine.
"""

import argparse
import csv
import dataclasses
import gzip
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_S = 5  # of a message between ranks, in every configuration below
GRACE_S = 60  # for a start of MPI and a checkpoint on a loaded machine


class Fault(Exception):
    """A promise that was not kept."""


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- processes ------------------------------------------------------------------------------------------------------------------------------------------


class Start:
    """A start of the program: its processes carry a mark in their environment, by which all are found, no matter which process started them."""

    count = 0

    def __init__(self, arguments, folder, environment=None):
        Start.count += 1
        self.mark = f"DISSENT_CHAOS={os.getpid()}.{Start.count}"
        self.arguments = [str(argument) for argument in arguments]
        # Next to the folder, whose disk may be full.
        self.out = folder.parent / f"{folder.name}.out"
        self.err = folder.parent / f"{folder.name}.err"
        name, value = self.mark.split("=")
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                self.arguments,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env={**os.environ, **(environment or {}), name: value},
            )
        self.began = time.monotonic()

    def pids(self, name=None):
        """Living processes with the mark; of programs of that name alone."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self.mark.encode() not in (entry / "environ").read_bytes().split(b"\0"):
                    continue
                if (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                    continue
                if name is None or (entry / "comm").read_text().strip().startswith(name):
                    found.append(int(entry.name))
            except OSError:
                continue
        return sorted(found)

    def ranks(self):
        return self.pids("dissent-comput")

    def running(self):
        return self.process.poll() is None

    def wait(self, seconds):
        """Exit code as a shell says it. Raises Fault where the start does not end in time or leaves processes."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            alive = self.pids()
            self.kill()
            raise Fault(f"did not end within {seconds:.0f} s (processes {alive})") from None
        end = time.monotonic() + 10
        while left := self.pids():
            if time.monotonic() > end:
                self.kill()
                raise Fault(f"ended with {code} and left the processes {left}")
            time.sleep(0.05)
        return code if code >= 0 else 128 - code

    def kill(self):
        for pid in self.pids():
            send(pid, signal.SIGKILL)
        self.process.wait()

    def text(self):
        return self.err.read_text(errors="replace") + self.out.read_text(errors="replace")


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


# --- disturbances ----------------------------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Disturbance:
    """What happens to one start. `codes`: exit codes that it explains, in addition to 0; None: any."""

    name: str
    codes: set | None
    environment: dict = dataclasses.field(default_factory=dict)
    act: object = None  # act(start, rng): once, at the drawn moment
    still: bool = False  # ranks stand still: the rest has to notice within the timeout
    hit: pathlib.Path | None = None  # appears when it has taken effect; without it the start has to go well
    damage: bool = False  # a checkpoint is damaged before the start: it has to be refused


STOPPED = {75}
KILLED = {128 + number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}


def no_disturbance():
    return Disturbance("none", set())


def by_signal(number, times=1):
    def act(start, rng):
        for _ in range(times):
            send(start.process.pid, number)
            time.sleep(rng.uniform(0, 0.1) if times > 1 else 0)

    name = signal.Signals(number).name[3:].lower()
    # mpirun answers TERM and INT by killing its ranks, and then says what it likes; a process of its own stops with a checkpoint.
    return Disturbance(name if times == 1 else f"{name} x{times}", STOPPED, act=act)


def kill_rank():
    def act(start, rng):
        if ranks := start.ranks():
            send(rng.choice(ranks), signal.SIGKILL)

    return Disturbance("kill -9 of a rank", None, act=act)


def kill_all():
    def act(start, rng):
        for pid in start.pids():
            send(pid, signal.SIGKILL)

    return Disturbance("kill -9 of all", None, act=act)


def kill_launcher():
    def act(start, rng):
        send(start.process.pid, signal.SIGKILL)

    return Disturbance("kill -9 of the launcher", None, act=act)


def stand_still():
    def act(start, rng):
        if len(ranks := start.ranks()) > 1:
            send(rng.choice(ranks), signal.SIGSTOP)

    return Disturbance("a rank stands still", None, act=act, still=True)


def pause():
    def act(start, rng):
        for pid in (ranks := start.ranks()):
            send(pid, signal.SIGSTOP)
        time.sleep(rng.uniform(0.1, 2.0))
        for pid in ranks:
            send(pid, signal.SIGCONT)

    return Disturbance("all ranks paused", set(), act=act)


def disk(fault, world, folder, rng):
    environment = {"LD_PRELOAD": world.disk_faults, "CHAOS_DISK_FOLDER": str(folder.resolve()), "CHAOS_DISK_FAULT": fault}
    hit = None
    if fault == "slow":
        environment["CHAOS_DISK_DELAY_US"] = str(rng.choice([100, 500, 2500]))
        return Disturbance("slow disk", set(), environment)
    hit = folder.parent / f"{folder.name}.hit"
    hit.unlink(missing_ok=True)
    environment["CHAOS_DISK_AFTER"] = str(int(10 ** rng.uniform(0, 3)))
    environment["CHAOS_DISK_HIT"] = str(hit)
    return Disturbance(f"{fault} disk", {3}, environment, hit=hit)


def damaged():
    return Disturbance("damaged checkpoint", {3}, damage=True)


# --- ways ------------------------------------------------------------------------------------------------------------------------------------------------

HEADS = """
experiment = "heads"
seeds = [7]
[data]
train = "WORLD/train.cache"
validation = "WORLD/validation.cache"
batch_size = 8
chunk_rows = 150
[ensemble]
members = 5
active = 2
model = "mlp"
hidden = 128
[loss.cross_entropy]
weight = 0.5
[loss.a2d]
weight = 0.05
sample_weight = "hard"
[schedule]
name = "cosine"
per = "step"
[training]
epochs = 12
frozen_first_epoch = true
[checkpoint]
every_minutes = 0.003
[runtime]
timeout_s = TIMEOUT
"""

IMAGES = """
experiment = "images"
seeds = [3]
[data]
kind = "images"
dataset = "mnist"
split = "test"
root = "WORLD/images"
rows = ":110"
transform = "mnist_train"
batch_size = 25
[validation]
rows = "110:150"
batch_size = 16
[ensemble]
members = 5
model = "lenet"
[loss.cross_entropy]
[loss.gradcam]
weight = 0.1
[optimizer]
name = "sgd"
learning_rate = 0.05
nesterov = true
[training]
epochs = 3
clip_norm = 1.0
ema_decay = 0.9
accumulation = 2
[checkpoint]
every_minutes = 0.003
[runtime]
timeout_s = TIMEOUT
"""

FEATURES = """
[cache]
output = "whole.cache"
passes = 2
[trunk]
model = "lenet"
weights = "random"
batch_size = 24
[data]
dataset = "mnist"
root = "WORLD/images"
split = "test"
transform = "mnist_train"
[runtime]
device = "cpu"
threads = 1
timeout_s = TIMEOUT
"""

EVALUATION = """
[evaluate]
experiment = "evaluation"
runs = ["WORLD/runs/results/heads/seed-7"]
id = "WORLD/validation.cache"
logits_cache = "f32"
block_rows = 50
figures = true
scores = ["msp", "average", "energy", "mutual_information", "knn", "mds", "klm"]
predictors = ["ensemble", "mean", "members"]
fit = "WORLD/train.cache"
[[evaluate.sets]]
name = "other"
paths = ["WORLD/far.cache"]
[[evaluate.sets]]
name = "held_out"
role = "validation"
paths = ["WORLD/train.cache"]
[runtime]
timeout_s = TIMEOUT
"""

SHEET = """name,verb,config,ranks,after,set:seeds
a,train,heads.toml,1,,[1]
b,train,heads.toml,2,,[2]
c,train,heads.toml,1,,[3]
table,evaluate,sheet_evaluation.toml,1,a b c,
"""

SHEET_EVALUATION = """
[evaluate]
experiment = "sheet"
runs = ["results/heads/seed-1", "results/heads/seed-2", "results/heads/seed-3"]
id = "WORLD/validation.cache"
[[evaluate.sets]]
name = "other"
paths = ["WORLD/far.cache"]
[runtime]
timeout_s = TIMEOUT
"""


class Way:
    name = ""
    outputs = ()  # patterns below the folder of a trial: what an undisturbed run leaves
    checkpoint = None

    def __init__(self, world):
        self.world = world
        self.reference = {}
        self.seconds = 0.0

    def arguments(self):
        """Verb and configuration."""
        raise NotImplementedError

    def layout(self, rng):
        """How many ranks, and settings that change none of the results."""
        raise NotImplementedError

    def command(self, rng):
        ranks, settings = self.layout(rng)
        launcher = [] if ranks == 1 else [SOURCE / "scripts/mpirun", ranks]
        sets = [part for setting in settings for part in ("--set", setting)]
        return [*launcher, self.world.program, *self.arguments(), "--quiet", *sets]

    def plain(self):
        return [self.world.program, *self.arguments(), "--quiet"]

    def prepare(self, folder):
        """What the folder of a trial needs before the first start."""

    def files(self, folder):
        return {str(path.relative_to(folder)): path for pattern in self.outputs for path in sorted(folder.glob(pattern))}

    def content(self, folder):
        return {name: sha(path) for name, path in self.files(folder).items()}

    def begin(self):
        folder = self.world.folder / f"reference-{self.name}"
        folder.mkdir()
        self.prepare(folder)
        start = Start(self.plain(), folder)
        code = start.wait(600)
        if code != 0:
            raise SystemExit(f"chaos: the undisturbed run of {self.name} ended with {code}:\n{start.text()[-2000:]}")
        self.seconds = time.monotonic() - start.began
        self.reference = self.content(folder)
        if not self.reference:
            raise SystemExit(f"chaos: the undisturbed run of {self.name} left nothing")
        return None

    def end(self):
        pass

    def differences(self, folder):
        found = self.content(folder)
        return [name for name in {**self.reference, **found} if self.reference.get(name) != found.get(name)]

    def disturbances(self, folder, rng):
        return [
            lambda: by_signal(signal.SIGUSR1),
            lambda: by_signal(signal.SIGUSR1, 4),
            lambda: by_signal(signal.SIGTERM),
            lambda: by_signal(signal.SIGTERM, 2),
            lambda: by_signal(signal.SIGINT),
            kill_rank,
            kill_all,
            kill_launcher,
            stand_still,
            pause,
            lambda: disk("slow", self.world, folder, rng),
            lambda: disk("full", self.world, folder, rng),
            lambda: disk("broken", self.world, folder, rng),
        ]

    def progress(self, folder):
        """(epoch, step) of the checkpoint; None without one."""
        return None


class Training(Way):
    def progress(self, folder):
        path = folder / self.checkpoint
        if not path.exists():
            return None
        shown = subprocess.run([self.world.program, "inspect", path], capture_output=True, text=True, timeout=60, check=False)
        if shown.returncode != 0:
            raise Fault(f"{path.name} cannot be read: {shown.stderr.strip()[-300:]}")
        numbers = re.search(r"epoch\D*(\d+)(?:\D*step\D*(\d+))?", shown.stdout)
        if numbers is None:
            raise Fault(f"{path.name}: inspect names no epoch: {shown.stdout[:300]}")
        return int(numbers[1]), int(numbers[2] or 0)

    def disturbances(self, folder, rng):
        more = [damaged] if (folder / self.checkpoint).exists() else []
        return super().disturbances(folder, rng) + more


class Heads(Training):
    name = "train heads"
    outputs = ("results/heads/seed-7/*.h5", "results/heads/seed-7/train.csv")
    checkpoint = "results/heads/seed-7/checkpoint.h5"

    def arguments(self):
        return ["train", self.world.folder / "heads.toml"]

    def layout(self, rng):
        settings = [f"data.residency={rng.choice(['host', 'stream'])}", f"runtime.threads={rng.choice([1, 2])}"]
        return rng.choice([1, 1, 2, 3, 4, 5]), settings


class Images(Training):
    name = "train images"
    outputs = ("results/images/seed-3/*.h5", "results/images/seed-3/train.csv")
    checkpoint = "results/images/seed-3/checkpoint.h5"

    def arguments(self):
        return ["train", self.world.folder / "images.toml"]

    def layout(self, rng):
        return rng.choice([1, 1, 2, 3, 5]), [f"data.workers={rng.choice([0, 1, 2])}", f"runtime.threads={rng.choice([1, 2])}"]


class Features(Way):
    name = "cache"
    outputs = ("whole.cache/*",)

    def arguments(self):
        return ["cache", self.world.folder / "features.toml"]

    def layout(self, rng):
        return rng.choice([1, 1, 2, 3]), [f"data.workers={rng.choice([0, 1, 2])}", f"runtime.threads={rng.choice([1, 2])}"]

    def content(self, folder):
        # The manifest says when and by how many ranks it was made; the features do not.
        return {name: sha(path) for name, path in self.files(folder).items() if path.name.startswith("shard-")}


class Evaluation(Way):
    name = "evaluate"
    outputs = ("results/*.csv", "results/*/figures/*.csv")

    def arguments(self):
        return ["evaluate", self.world.folder / "evaluation.toml"]

    def prepare(self, folder):
        # Logits and fitted states are kept in the folder of the run: each trial has its own.
        shutil.copytree(self.world.folder / "runs", folder / "runs")

    def layout(self, rng):
        return rng.choice([1, 1, 2, 3]), [f"runtime.threads={rng.choice([1, 2])}"]

    def command(self, rng):
        return [*super().command(rng), "--set", 'evaluate.runs=["runs/results/heads/seed-7"]']

    def plain(self):
        return [*super().plain(), "--set", 'evaluate.runs=["runs/results/heads/seed-7"]']


def values(path):
    """Rows of a result file without experiment, run and hash."""
    with open(path, newline="") as file:
        return hashlib.sha256(repr([row[3:] for row in csv.reader(file)]).encode()).hexdigest()


class Sheet(Way):
    name = "jobs"
    outputs = ("results/*.csv", "results/heads/seed-*/checkpoint.h5")

    def arguments(self):
        return ["jobs", "run", "sheet.csv"]

    def plain(self):
        return [self.world.program, *self.arguments(), "--cores", "2"]

    def command(self, rng):
        return [self.world.program, *self.arguments(), "--cores", str(rng.choice([1, 2]))]

    def prepare(self, folder):
        for name in ("heads.toml", "sheet_evaluation.toml", "sheet.csv"):
            shutil.copy(self.world.folder / name, folder / name)

    def content(self, folder):
        return {re.sub(r"[0-9a-f]{8,}|\d{8}.*(?=\.csv)", "*", name): values(path) if path.suffix == ".csv" else sha(path) for name, path in self.files(folder).items()}

    def disturbances(self, folder, rng):
        return [
            lambda: by_signal(signal.SIGTERM),
            lambda: by_signal(signal.SIGINT),
            lambda: by_signal(signal.SIGUSR1),
            kill_rank,
            kill_all,
            kill_launcher,
            pause,
            lambda: disk("slow", self.world, folder, rng),
            lambda: disk("full", self.world, folder, rng),
        ]


class SlurmSheet(Sheet):
    """The same sheet on a Slurm of two nodes, which is started for it. What it leaves is what the sheet leaves on this machine."""

    name = "slurm"
    under_way = re.compile(r" (submitting|pending|running|preempted) ")

    def __init__(self, world):
        super().__init__(world)
        self.sandbox = world.folder / "slurm"
        self.environment = {}

    def begin(self):
        super().begin()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = min(free.getsockname()[1], 60000)
        begun = subprocess.run([SOURCE / "scripts/slurm_sandbox", "start", self.sandbox, str(port)], capture_output=True, text=True, timeout=300, check=False)
        if begun.returncode == 77:
            return begun.stderr.strip()
        if begun.returncode != 0:
            raise SystemExit(f"chaos: no Slurm: {begun.stderr[-2000:]}")
        site = (SOURCE / "slurm/site.sh").read_text()
        (self.world.folder / "site.sh").write_text(re.sub(r"(?m)^MPIRUN_OPTIONS=.*", "MPIRUN_OPTIONS=(--oversubscribe --bind-to none)", site))
        self.environment = {
            "SLURM_CONF": str(self.sandbox / "slurm.conf"),
            "DISSENT_SITE": str(self.world.folder / "site.sh"),
            "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
            "OMPI_MCA_btl": "self,tcp",
            "DISSENT_JOBS_LEASE_S": "6",
        }
        return None

    def end(self):
        subprocess.run([SOURCE / "scripts/slurm_sandbox", "stop", self.sandbox], capture_output=True, timeout=120, check=False)

    def call(self, folder, *arguments):
        done = subprocess.run([str(argument) for argument in arguments], cwd=folder, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout + done.stderr


# --- trials ----------------------------------------------------------------------------------------------------------------------------------------------


class World:
    """Data, configurations and the run that the evaluation is about, made once."""

    def __init__(self, program, disk_faults, folder):
        self.program = program
        self.disk_faults = str(disk_faults)
        self.folder = folder
        for name, text in {
            "heads.toml": HEADS,
            "images.toml": IMAGES,
            "features.toml": FEATURES,
            "evaluation.toml": EVALUATION,
            "sheet_evaluation.toml": SHEET_EVALUATION,
            "sheet.csv": SHEET,
        }.items():
            text = text.replace("WORLD", str(folder)).replace("TIMEOUT", str(TIMEOUT_S))
            (folder / name).write_text(text)
        self.images()
        for name, rows, dim in (("train", 600, 1), ("validation", 200, 2), ("far", 150, 3)):
            self.well(
                "cache",
                self.toml(
                    f"{name}.toml",
                    f'[cache]\noutput = "{name}.cache"\n[trunk]\nmodel = "none"\n'
                    f'[data]\ndataset = "synthetic"\nrows = {rows}\ndim = 32\nclasses = 10\nseed = {dim}\n',
                ),
            )
        (folder / "runs").mkdir()
        self.well("train", folder / "heads.toml", cwd=folder / "runs")

    def toml(self, name, text):
        (self.folder / name).write_text(text)
        return name

    def well(self, *arguments, cwd=None):
        made = subprocess.run([self.program, *arguments, "--quiet"], cwd=cwd or self.folder, capture_output=True, text=True, timeout=300, check=False)
        if made.returncode != 0:
            raise SystemExit(f"chaos: {' '.join(map(str, arguments))} ended with {made.returncode}: {made.stderr[-1000:]}")

    def images(self, rows=150, side=28):
        (self.folder / "images").mkdir()
        for kind, dims in (("images-idx3", (rows, side, side)), ("labels-idx1", (rows,))):
            raw = gzip.decompress((SOURCE / f"tests/data/mnist/t10k-{kind}-ubyte.gz").read_bytes())
            header, size = 4 + 4 * len(dims), 1
            for dim in dims:
                size *= dim
            with gzip.open(self.folder / f"images/t10k-{kind}-ubyte.gz", "wb") as file:
                file.write(raw[:4] + struct.pack(f">{len(dims)}I", *dims) + raw[header : header + size])


def damage_checkpoint(path, rng):
    """Overwrites some bytes; returns what puts them back."""
    whole = path.read_bytes()
    at = rng.randrange(len(whole))
    some = bytes(rng.randrange(256) for _ in range(rng.choice([1, 4, 64])))
    broken = whole[:at] + some + whole[at + len(some) :] if rng.random() < 0.7 else whole[: rng.randrange(1, len(whole))]
    path.write_bytes(broken)
    return whole, broken != whole


class Trial:
    def __init__(self, way, folder, rng, tally):
        self.way, self.folder, self.rng, self.tally = way, folder, rng, tally
        self.said = []  # for the report of a fault

    def run(self):
        self.way.prepare(self.folder)
        for _ in range(self.rng.choice([1, 1, 2, 3, 4])):
            disturbance = self.rng.choice(self.way.disturbances(self.folder, self.rng))()
            self.start(disturbance)
        self.last()

    def start(self, disturbance):
        way, rng, folder = self.way, self.rng, self.folder
        before = way.progress(folder)
        kept = None
        damaged_now = False
        if disturbance.damage:
            kept, damaged_now = damage_checkpoint(folder / way.checkpoint, rng)
        start = Start(way.command(rng), folder, disturbance.environment)
        self.said.append(f"[{disturbance.name}] {' '.join(start.arguments)} {disturbance.environment or ''}")
        if disturbance.act is not None:
            moment = rng.uniform(0, 1.3 * max(way.seconds, 0.5) + 0.3)
            while start.running() and time.monotonic() - start.began < moment:
                time.sleep(0.005)
            disturbance.act(start, rng)
        if disturbance.still:
            self.wait_for_the_others(start)
        code = start.wait(self.limit(disturbance))
        self.said.append(f"  ended with {code} after {time.monotonic() - start.began:.1f} s")
        self.tally.count(way.name, disturbance.name, code)
        if kept is not None:
            self.damaged(code, start, damaged_now)
            (folder / way.checkpoint).write_bytes(kept)
            return
        self.judge(disturbance, code, start)
        after = way.progress(folder)
        if before is not None and (after is None or after < before):
            raise Fault(f"a checkpoint of epoch and step {before} was there, now {after}")

    def wait_for_the_others(self, start):
        """Where a rank stood still before MPI had started, or after all work was done, MPI itself waits for it (MPI_Init, MPI_Finalize): it goes on then."""
        end = time.monotonic() + TIMEOUT_S + GRACE_S / 2
        while start.running() and time.monotonic() < end:
            time.sleep(0.1)
        if start.running() and ("event=start" not in start.text() or not self.way.differences(self.folder)):
            self.said.append("  stood still in MPI_Init or MPI_Finalize")
            for pid in start.pids():
                send(pid, signal.SIGCONT)

    def limit(self, disturbance):
        slow = 8 if disturbance.name == "slow disk" else 1
        return slow * 4 * self.way.seconds + TIMEOUT_S + GRACE_S

    def damaged(self, code, start, changed):
        text = start.text()
        if changed and code == 0:
            raise Fault("a damaged checkpoint was gone on from, with exit code 0")
        if changed and (code != 3 or "checkpoint.h5" not in text):
            raise Fault(f"a damaged checkpoint: exit code {code}, expected 3 and the file's name: {text[-500:]}")

    def judge(self, disturbance, code, start):
        text = start.text()
        for defect in ("terminate called", "Segmentation fault", "defect of the program", "Sanitizer"):
            if defect in text:
                raise Fault(f"says '{defect}': {text[-800:]}")
        if code == 0:
            if wrong := self.way.differences(self.folder):
                raise Fault(f"exit code 0, but these files are not those of the undisturbed run: {wrong}")
            return
        if disturbance.hit and not disturbance.hit.exists():
            raise Fault(f"exit code {code}, though its disk never failed: {text[-800:]}")
        by_launcher = "scripts/mpirun" in start.arguments[0]
        allowed = disturbance.codes
        if allowed is None:
            return
        if by_launcher and allowed & STOPPED:
            allowed = allowed | KILLED | {1}  # mpirun's own way to end
        if code == 128 + signal.SIGUSR1 and self.way.name == "jobs" and "started" not in text:
            return  # still checking the sheet: there was nothing to stop
        if code not in allowed and not (self.way.name == "jobs" and code == 5):
            raise Fault(f"exit code {code}, expected 0 or one of {sorted(allowed)}: {text[-800:]}")
        # MPI-IO may say nothing of an operation that failed: then what was written is not what is read back.
        reasons = r"No space left|Input/output error|file write failed|MPI_File_\w+ failed|lost a write"
        if code == 3 and not re.search(rf"^dissent: .*({reasons})", text, re.M):
            raise Fault(f"exit code 3, but no error line names the disk's error: {text[-800:]}")

    def last(self):
        """Undisturbed starts until it is done: one, or as many as a sheet's rows need that were lost."""
        attempts = 4 if self.way.name == "jobs" else 1
        for attempt in range(attempts):
            start = Start(self.way.command(self.rng), self.folder)
            self.said.append(f"[none] {' '.join(start.arguments)}")
            code = start.wait(self.limit(no_disturbance()))
            self.said.append(f"  ended with {code}")
            self.tally.count(self.way.name, "none", code)
            if code == 0:
                break
        if code != 0:
            raise Fault(f"the undisturbed start ended with {code}: {start.text()[-1200:]}")
        if wrong := self.way.differences(self.folder):
            raise Fault(f"these files are not those of the undisturbed run: {wrong}")
        left = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*.tmp*")]
        if left:
            raise Fault(f"left behind: {left}")


class SlurmTrial(Trial):
    """Submits the sheet, disturbs its jobs, waits until none is under way, and submits again until all rows are done."""

    def queue(self):
        _, text = self.way.call(self.folder, "squeue", "--noheader", "--array", "--format=%i %T")
        return [line.split() for line in text.splitlines() if re.match(r"\d", line)]

    def disturb(self):
        way, rng = self.way, self.rng
        jobs = self.queue()
        running = [job for job, state in jobs if state == "RUNNING"]
        kind = rng.choice(["scancel", "requeue", "time limit near", "kill -9 of a rank", "node down"])
        if kind == "scancel" and jobs:
            way.call(self.folder, "scancel", rng.choice(jobs)[0])
        elif kind == "requeue" and running:
            way.call(self.folder, "scontrol", "requeue", rng.choice(running))
        elif kind == "time limit near" and running:
            way.call(self.folder, "scancel", "--batch", "--signal=USR1", rng.choice(running))
        elif kind == "kill -9 of a rank" and (ranks := self.ranks()):
            send(rng.choice(ranks), signal.SIGKILL)
        elif kind == "node down":
            node = rng.choice(["n1", "n2"])
            way.call(self.folder, "scontrol", "update", f"nodename={node}", "state=down", "reason=chaos")
            time.sleep(rng.uniform(0, 2))
            way.call(self.folder, "scontrol", "update", f"nodename={node}", "state=resume")
        else:
            kind = "none"
        self.said.append(f"[{kind}]")
        self.tally.count(way.name, kind, "")

    def ranks(self):
        """Processes of the program that work in the folder of this trial."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd") == str(self.folder) and (entry / "comm").read_text().startswith("dissent-comput"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return sorted(found)

    def status(self):
        return self.way.call(self.folder, self.way.world.program, "jobs", "status", "sheet.csv")[1]

    def run(self):
        way, rng = self.way, self.rng
        way.prepare(self.folder)
        disturbances = rng.choice([1, 2, 3])
        for _ in range(disturbances + 3):
            code, text = way.call(self.folder, way.world.program, "jobs", "submit", "sheet.csv", *(["--no-arrays"] if rng.random() < 0.5 else []))
            self.said.append(f"[none] submit: {code}")
            self.tally.count(way.name, "submitted", code)
            if code not in (0, 5):
                raise Fault(f"submit ended with {code}: {text[-800:]}")
            end = time.monotonic() + 240
            due = time.monotonic() + rng.uniform(0.3, 5)
            while way.under_way.search(text := self.status()):
                if time.monotonic() > end:
                    raise Fault(f"still under way after 240 s: {text}\n{self.queue()}")
                if disturbances > 0 and time.monotonic() > due:
                    self.disturb()
                    disturbances -= 1
                    due = time.monotonic() + rng.uniform(0.3, 5)
                time.sleep(0.3)
            self.said.append("  " + text.strip().splitlines()[-1])
            if "4 jobs: 4 done" in text:
                break
        if "4 jobs: 4 done" not in text:
            raise Fault(f"not all rows are done after submitting again {self.said.count('[none] submit: 0')} times: {text}")
        # Slurm may have requeued a job whose node went down after its work was done: it starts once more, finds that, and ends.
        due = time.monotonic() + 60
        while (left := self.queue()) and time.monotonic() < due:
            time.sleep(0.3)
        if left:
            raise Fault(f"jobs are left in the queue: {left}")
        for folder in (self.folder / "results/jobs").glob("*-*"):
            done = [stop for stop in folder.glob("stop.*") if '"reason": "done"' in stop.read_text()]
            if len(done) > 1:
                raise Fault(f"{folder.name} ran to its end {len(done)} times")
        if wrong := way.differences(self.folder):
            raise Fault(f"these files are not those of the undisturbed run: {wrong}")


class Tally:
    def __init__(self):
        self.codes = {}

    def count(self, way, disturbance, code):
        key = (way, disturbance)
        self.codes.setdefault(key, {}).setdefault(code, 0)
        self.codes[key][code] += 1

    def rows(self):
        for (way, disturbance), codes in sorted(self.codes.items()):
            ended = " ".join(f"{code}:{count}" for code, count in sorted(codes.items()) if code != "")
            yield way, disturbance, sum(codes.values()), ended


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("disk_faults", type=pathlib.Path, help="the library of disk_faults.cpp")
    parser.add_argument("--seconds", type=float, default=1200, help="trials begin for so long (default 1200)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--ways", default="", help="some of: train heads,train images,cache,evaluate,jobs,slurm")
    parser.add_argument("--trial", type=int, help="this trial alone")
    parser.add_argument("--output", type=pathlib.Path, help="a CSV: way, disturbance, starts, exit codes")
    parser.add_argument("--keep", action="store_true", help="keep the folders of trials with faults")
    options = parser.parse_args()

    os.environ.update(OMP_NUM_THREADS="1", OMPI_MCA_pml="ob1", OMPI_MCA_btl="^openib,ofi,usnic,tcp")
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", DISSENT_JOBS_LEASE_S="3")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "DISSENT_WANDB", "DISSENT_TENSORBOARD"):
        os.environ.pop(name, None)
    base = pathlib.Path(tempfile.mkdtemp(prefix="chaos-"))
    faults = []
    tally = Tally()
    trials = 0
    ways = []
    try:
        began = time.monotonic()
        (base / "world").mkdir()
        world = World(options.program.resolve(), options.disk_faults.resolve(), base / "world")
        ways = [Heads, Images, Features, Evaluation, Sheet, SlurmSheet]
        if options.ways:
            ways = [way for way in ways if way.name in options.ways.split(",")]
        if not ways:
            raise SystemExit(f"chaos: --ways: none of {options.ways}")
        ways = [way(world) for way in ways]
        for way in list(ways):
            if reason := way.begin():
                print(f"left out: {way.name}: {reason}")
                ways.remove(way)
        print(f"seed {options.seed}; made in {time.monotonic() - began:.0f} s: " + ", ".join(f"{way.name} {way.seconds:.1f} s" for way in ways), flush=True)
        end = time.monotonic() + options.seconds
        number = 0
        while time.monotonic() < end:
            rng = random.Random(f"{options.seed}.{number if options.trial is None else options.trial}")
            way = ways[number % len(ways)] if options.trial is None else ways[options.trial % len(ways)]
            folder = base / f"trial-{number}"
            folder.mkdir()
            trial = (SlurmTrial if way.name == "slurm" else Trial)(way, folder, rng, tally)
            trials += 1
            try:
                trial.run()
            except Fault as fault:
                faults.append(f"trial {number} ({way.name}): {fault}\n    " + "\n    ".join(trial.said))
                print(f"FAULT: {faults[-1]}", flush=True)
            if not options.keep or not faults:
                shutil.rmtree(folder, ignore_errors=True)
            number += 1
            if options.trial is not None:
                break
    finally:
        for way in ways:
            way.end()
        if options.keep and faults:
            print(f"kept: {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)

    print(f"{'way':14} {'disturbance':26} {'starts':>6}  exit codes")
    for way, disturbance, count, ended in tally.rows():
        print(f"{way:14} {disturbance:26} {count:6}  {ended}")
    starts = sum(row[2] for row in tally.rows())
    print(f"{trials} trials, {starts} starts, {len(faults)} faults; seed {options.seed}")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with open(options.output, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["way", "disturbance", "starts", "exit_codes"])
            writer.writerows(tally.rows())
    if trials == 0:
        print("no trial ran")
    sys.exit(1 if faults or trials == 0 else 0)


if __name__ == "__main__":
    main()
