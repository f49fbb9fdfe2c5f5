"""Reads the files that the client of Weights & Biases leaves: records of LevelDB's log format, each a wandb_internal_pb2.Record."""
import glob
import json
import os
import struct

from wandb.proto import wandb_internal_pb2

BLOCK = 32768
HEADER = 7  # of the file (":W&B", magic, version), and of each piece (crc, length, kind)


def records(path):
    with open(path, "rb") as file:
        data = file.read()
    assert data[:4] == b":W&B", data[:HEADER]
    at, parts = HEADER, []
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # no room for a piece: zeros up to the next block
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if kind == 0:
            break
        parts.append(data[at + HEADER : at + HEADER + length])
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last piece
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


def items(found):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in found}


def files_of(run):
    """Those of a run's folder, oldest first."""
    return sorted(glob.glob(f"{run}/wandb/offline-run-*/run-*.wandb"), key=os.path.getmtime)
