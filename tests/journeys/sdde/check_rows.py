#!/usr/bin/env python3
"""check_rows.py FOLDER CONFIG SEEDS EXPERIMENT ...: whether the result files of FOLDER hold, for each experiment and seed, every figure that the evaluation CONFIG asks for.

Prints what is missing, twice there or out of range; exit code 1 then. Standard library only.
"""
import csv
import glob
import math
import os
import sys
import tomllib

LABELLED = ("id", "covariate")


def load(path):
    with open(path, "rb") as file:
        config = tomllib.load(file)
    merged = {}
    for name in config.pop("include", []):
        merge(merged, load(os.path.join(os.path.dirname(path), name)))
    merge(merged, config)
    return merged


def merge(base, over):
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def expected(evaluate):
    """(predictor, dataset, score, metric) of each figure."""
    label_metrics = [m for m in evaluate["metrics"] if m in ("accuracy", "nll", "ece", "brier")]
    ranking = [m for m in evaluate["metrics"] if m not in label_metrics]
    for one in evaluate["sets"]:
        role, shift = one.get("role", "test"), one.get("shift", "far")
        if role not in ("test", "id"):
            continue
        for predictor in evaluate["predictors"]:
            if shift in LABELLED:
                for metric in label_metrics if "classes" not in one else ["accuracy"]:
                    yield predictor, one["name"], "", metric
                    if metric != "accuracy" and evaluate.get("temperature", "none") != "none":
                        yield predictor, one["name"], "temperature", metric
            elif predictor == "ensemble":
                for score in evaluate["scores"]:
                    for metric in ranking:
                        yield predictor, one["name"], score, metric


def main():
    folder, config, seeds, experiments = sys.argv[1], sys.argv[2], sys.argv[3].split(","), sys.argv[4:]
    rows, wrong = {}, []
    for path in glob.glob(os.path.join(folder, "*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                key = tuple(row[name] for name in ("experiment", "seed", "predictor", "dataset", "score", "metric"))
                value = float(row["value"])
                if key in rows and rows[key] != value:
                    wrong.append(f"two values for {key}")
                rows[key] = value
                unit = row["metric"] in ("accuracy", "ece") or row["metric"].startswith(("auroc", "aupr", "fpr"))
                if not math.isfinite(value) or unit and not 0 <= value <= 1:
                    wrong.append(f"{key} is {value}")
    figures = list(expected(load(config)["evaluate"]))
    for experiment in experiments:
        for seed in seeds:
            for figure in figures:
                if (experiment, seed, *figure) not in rows:
                    wrong.append(f"no {experiment} seed {seed}: {' '.join(figure)}")
    if not figures or wrong:
        print(f"{folder}: {len(wrong)} of {len(figures) * len(seeds) * len(experiments)} figures: " + "; ".join(wrong[:5]))
        sys.exit(1)
    print(f"{folder}: {len(figures)} figures of each of {len(experiments)} experiments x {len(seeds)} seeds")


if __name__ == "__main__":
    main()
