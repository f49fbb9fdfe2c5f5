#!/usr/bin/env python3
"""tests/data/cifar/make.py [FOLDER]: CIFAR-100 batches of two images as Python 3 and numpy (2.4) pickle them anew, for the test Cifar100AsPython3WritesIt: value v
(plane by plane) of row r is r 7 + v 3 + v / 256, the fine labels are 77 and 99. Needs numpy."""
import pathlib
import pickle
import sys

import numpy

ROWS, VALUES = 2, 3072


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    v = numpy.arange(VALUES)
    data = numpy.stack([(r * 7 + v * 3 + v // 256) % 256 for r in range(ROWS)]).astype(numpy.uint8)
    for name, protocol, content in (
        ("protocol2_array", 2, {b"data": data, b"fine_labels": numpy.array([77, 99])}),
        ("protocol4_fortran", 4, {"data": numpy.asfortranarray(data), "fine_labels": numpy.array([77, 99], dtype=">i4")}),
        ("protocol5_list", 5, {"data": data, "fine_labels": [77, 99]}),
        ("protocol5_bytes", 5, {"data": numpy.frombuffer(data.tobytes(), numpy.uint8).reshape(ROWS, VALUES), "fine_labels": numpy.array([77, 99], dtype=numpy.uint8)}),
        ("protocol5_scalars", 5, {"data": numpy.asfortranarray(data), "fine_labels": [numpy.int64(77), numpy.uint8(99)]}),
        ("protocol5_wide", 5, {"data": data, "fine_labels": [77, 2**32 + 77]}),
        ("protocol5_text", 5, {"data": data, "fine_labels": [77, "99"]}),
    ):
        with open(folder / name, "wb") as file:
            pickle.dump(content, file, protocol=protocol)


if __name__ == "__main__":
    main()
