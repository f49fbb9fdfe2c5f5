#!/usr/bin/env python3
"""The work of bench_evaluate as in SED's release: batches of 32, each score of each sample appended to a Python list, AUROC of the lists.

Prints one JSON object per line: forward, scores (after the logits) and auroc.
"""
import argparse
import json
import time

import torch

from _device import add_arguments, choose, synchronise
from head_step import BlockHead

MEMBERS, DIM, HIDDEN, CLASSES, BATCH = 5, 768, 3072, 1000, 32


def entropy(p):
    return -torch.special.xlogy(p, p).sum(-1)


def a2d(p):
    values = []
    for i in range(len(p)):
        top = p[i].argmax(-1, keepdim=True)
        for m in range(len(p)):
            if m != i:
                a, b = p[i].gather(1, top)[:, 0], p[m].gather(1, top)[:, 0]
                values.append(torch.log(a * (1 - b) + b * (1 - a) + 1e-9))
    return torch.stack(values).mean(0)


SCORES = {
    "msp": lambda z: z.mean(0).softmax(-1).amax(-1),
    "mean_member_confidence": lambda z: z.softmax(-1).amax(-1).mean(0),
    "different_predictions": lambda z: torch.tensor([len(set(column.tolist())) for column in z.softmax(-1).argmax(-1).t()], dtype=torch.float),
    "pds": lambda z: z.softmax(-1).amax(0).sum(-1),
    "ensemble_entropy": lambda z: entropy(z.softmax(-1).mean(0)),
    "average_entropy": lambda z: entropy(z.softmax(-1)).mean(0),
    "mutual_information": lambda z: entropy(z.softmax(-1).mean(0)) - entropy(z.softmax(-1)).mean(0),
    "average_energy": lambda z: -z.logsumexp(-1).mean(0),
    "average_max_logit": lambda z: -z.amax(-1).mean(0),
    "a2d_score": lambda z: a2d(z.softmax(-1)),
    "prob_minmax": lambda z: z.softmax(-1).amax(-1).amin(0),
    "minmax": lambda z: z.amax(-1).amin(0),
}


def auroc(positive, negative):
    """From ranks, ties count one half: the same value as scikit-learn's."""
    import numpy

    values = numpy.concatenate([positive, negative])
    _, place, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(counts) - (counts - 1) / 2)[place]
    n = len(positive)
    return (ranks[:n].sum() - n * (n + 1) / 2) / (n * len(negative))


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=8192)
    add_arguments(parser, ["f32"], ["f32", "tf32"])
    options = parser.parse_args()
    device = choose(options)
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    heads = [BlockHead(DIM, HIDDEN, CLASSES).eval().to(device) for _ in range(MEMBERS)]
    x = torch.rand(BATCH, DIM).to(device)
    z = (torch.randn(MEMBERS, BATCH, CLASSES) * 3).to(device)
    batches = options.rows // BATCH

    def report(what, start):
        synchronise(device)
        line = {"bench": "evaluate", "peer": "python", "what": what, "threads": options.threads, "rows": options.rows, "ms": round((time.perf_counter() - start) * 1e3, 1)}
        print(json.dumps(line), flush=True)

    start = time.perf_counter()
    for _ in range(batches):
        torch.stack([head(x) for head in heads])
    report("forward", start)
    lists = {name: [] for name in SCORES}
    start = time.perf_counter()
    for _ in range(batches):
        for name, score in SCORES.items():
            for value in score(z):
                lists[name].append(value.item())
    report("scores", start)
    if device.type == "cuda":  # it uses lists on the host, as on the CPU
        return
    start = time.perf_counter()
    for values in lists.values():
        auroc(values[: len(values) // 2], values[len(values) // 2 :])
    report("auroc", start)


if __name__ == "__main__":
    main()
