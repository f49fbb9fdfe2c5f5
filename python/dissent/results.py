"""Result rows of evaluations."""
import codecs
import csv
import glob
import io
import os
import re
import warnings
from typing import Any

COLUMNS = ("experiment", "run", "config_hash", "seed", "method", "members", "predictor", "dataset", "split", "shift", "score", "metric", "convention",
           "fidelity", "value", "n", "evaluation", "training_hash")
LATER = {"evaluation": "", "training_hash": ""}  # columns that result files of earlier versions do not have
_TYPES = {"seed": int, "members": int, "n": int, "value": float}


def open_results(pattern: str | os.PathLike[str], *, frame: bool = False) -> Any:
    """Rows of all result files that match, a file or a pattern ("results/**/*.csv"): a list of dictionaries, or with frame=True a pandas DataFrame.

    Columns: COLUMNS; seed, members and n are int, value is float, the others str. Files that match a pattern but have no result rows are skipped: the program's
    own (train.csv, figures) silently, others with one UserWarning that counts them and names the first. A UTF-8 byte order mark and any line ends are accepted.
    FileNotFoundError if nothing matches. ValueError with file, line and column for a file without result rows, with other separators or in UTF-16.
    """
    given = os.fspath(pattern)
    found = sorted(glob.glob(given, recursive=True))
    paths, others = [], []
    for path in found:
        names = _names(path) if path != given else list(COLUMNS)
        if all(column in names or column in LATER for column in COLUMNS):
            paths.append(path)
        elif names[0] != "epoch" and not {"kind", "x"} <= set(names):
            others.append(path)
    skipped = f"skipped {len(others)} CSV file{'s' if len(others) > 1 else ''} without the columns of result rows, such as {others[0]}" if others else ""
    if not paths:
        raise FileNotFoundError(f"{given}: expected result files of this name or pattern, found none{'; ' + skipped if others else ''}")
    if others:
        warnings.warn(f"{given}: {skipped}", stacklevel=2)
    rows = [row for path in paths for row in _read(path)]
    if not frame:
        return rows
    import pandas

    return pandas.DataFrame(rows, columns=list(COLUMNS))


def _names(path: str) -> list[str]:
    """The names in the first line, for any separator and encoding, so that _read can report what is wrong with a result file."""
    if not os.path.isfile(path):
        return [""]
    with open(path, "rb") as file:
        line = re.split(rb"[\r\n]", file.read(1 << 16).removeprefix(codecs.BOM_UTF8), maxsplit=1)[0]
    for dropped in (b"\0", b"\xff", b"\xfe", b'"'):
        line = line.replace(dropped, b"")
    return re.split("[,;\t]", line.decode("utf-8", "replace"))


def _read(path: str) -> list[dict[str, Any]]:
    with open(path, "rb") as file:
        content = file.read()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise ValueError(f"{path}: expected text in UTF-8, found UTF-16 or a zero byte; save it as UTF-8")
    text = content.decode("utf-8-sig")
    first = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if "," not in first and separator in first:
            raise ValueError(f"{path}:1: expected columns separated by commas, found {name}; save it as CSV with commas (and decimal points)")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return _rows(path, reader)
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}") from None


def _rows(path: str, reader: Any) -> list[dict[str, Any]]:
    header = next(reader, None)
    if header is None:
        raise ValueError(f"{path}: expected a header line, found nothing")
    for column in COLUMNS:
        if column not in header and column not in LATER:
            raise ValueError(f"{path}:1: expected a column '{column}' in the header, found none")
    return [_row(f"{path}:{reader.line_num}", header, fields) for fields in reader if fields]


def _row(place: str, header: list[str], fields: list[str]) -> dict[str, Any]:
    if len(fields) != len(header):
        raise ValueError(f"{place}: expected {len(header)} columns, as the header has, found {len(fields)}")
    values = LATER | dict(zip(header, fields))
    row: dict[str, Any] = {}
    for column in COLUMNS:
        kind = _TYPES.get(column, str)
        try:
            row[column] = kind(values[column])
        except ValueError:
            raise ValueError(f"{place}: column {column}: expected {'a number' if kind is float else 'an integer'}, found '{values[column]}'") from None
    return row
