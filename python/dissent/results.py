"""Result rows of evaluations."""
import csv
import glob
import os
import pathlib
from typing import Any

COLUMNS = ("experiment", "run", "config_hash", "seed", "method", "members", "predictor", "dataset", "split", "shift", "score", "metric", "convention",
           "fidelity", "value", "n", "evaluation", "training_hash")
LATER = {"evaluation": "", "training_hash": ""}  # columns that result files of earlier versions lack
_TYPES = {"seed": int, "members": int, "n": int, "value": float}


def open_results(pattern: str | os.PathLike[str], *, frame: bool = False) -> Any:
    """Rows of all result files that match, a file or a pattern ("results/**/*.csv"): a list of dictionaries, or with frame=True a pandas DataFrame.

    Columns: COLUMNS; seed, members and n are int, value is float, the others str. train.csv, the log of a training, is left out of a pattern.
    No match: FileNotFoundError. A file that is no result file: ValueError that names file, line and column.
    """
    found = sorted(glob.glob(os.fspath(pattern), recursive=True))
    paths = [path for path in found if pathlib.Path(path).name != "train.csv" or path == os.fspath(pattern)]
    if not paths:
        raise FileNotFoundError(f"{os.fspath(pattern)}: no result file matches")
    rows = [row for path in paths for row in _read(path)]
    if not frame:
        return rows
    import pandas

    return pandas.DataFrame(rows, columns=list(COLUMNS))


def _read(path: str) -> list[dict[str, Any]]:
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, None)
        if header is None:
            raise ValueError(f"{path}: empty, expected a header line")
        for column in COLUMNS:
            if column not in header and column not in LATER:
                raise ValueError(f"{path}:1: no column '{column}' in the header")
        return [_row(f"{path}:{reader.line_num}", header, fields) for fields in reader if fields]


def _row(place: str, header: list[str], fields: list[str]) -> dict[str, Any]:
    if len(fields) != len(header):
        raise ValueError(f"{place}: {len(fields)} columns, the header has {len(header)}")
    values = LATER | dict(zip(header, fields))
    row: dict[str, Any] = {}
    for column in COLUMNS:
        kind = _TYPES.get(column, str)
        try:
            row[column] = kind(values[column])
        except ValueError:
            raise ValueError(f"{place}: column {column}: '{values[column]}' is not {'a number' if kind is float else 'an integer'}") from None
    return row
