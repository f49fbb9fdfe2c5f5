#!/usr/bin/env python3
"""bench/simulate_ranks.py [RANKS...]: estimates how a training scales to these numbers of ranks (default: 8, 64 and 1,000), and what limits it.

Steps are drawn and put into waves as `dissent train` does (steps that share no member, looking 64 ahead). A wave takes as long as its busiest rank, with noise of each rank, plus
messages. Every grid runs x members x data of the ranks is tried and the fastest one is printed, together with the time lost to uneven shares, to messages, to the part of the
work that is not divided by splitting the batch, to noise and to reading images. Constants that are marked as measured come from docs/performance.md, the others are assumed;
change them here.
"""
import random
import sys

LOOK_AHEAD, STEPS = 64, 1500


class Heads:
    """SED's 50 heads, 2 active, batch 16, one core per rank. Measured: docs/performance.md, bench_head_step on one core."""
    name, members, active, batch = "50 heads (SED), 2 active, batch 16, one core per rank", 50, 2, 16
    pair_s, fixed_s = 15.0e-3, 6.5e-3        # per pair (step, member); fixed_s is the update of the weights, which every data rank computes (measured: 29.9 ms per step, 13.7 ms of products)
    gradient_bytes = 0.5e6                   # per pair: the two factors of each layer's gradient are gathered rather than the 22 MB gradient summed
    exchange_bytes = 16 * 1000 * 4           # logits of a member's batch
    latency_s, bytes_per_s = 5e-6, 1.0e9     # assumed, between nodes
    node_ranks, node_bytes_per_s = 32, 8e9   # measured between two ranks of a node
    noise = 0.05                             # relative, of each rank in each wave: assumed
    loader_s = 0.0                           # features are in the node's memory
    runs_start_s, epochs, rows = 20.0, 11, 1281167


class Images:
    """SDDE's ResNet50 on ImageNet, 5 members, batch 128, one GPU per rank. None of these values is measured: 57 GFLOP per image and member (cross-entropy 3 forwards, saliency 4) at 60 TFLOP/s,
    gradients of 102 MB per member over NVLink within 8 GPUs, InfiniBand beyond."""
    name, members, active, batch = "5 ResNet50 (SDDE, ImageNet), batch 128, one GPU per rank", 5, 5, 128
    pair_s, fixed_s = 128 * 57e9 / 60e12, 1.0e-3
    gradient_bytes = 102e6
    exchange_bytes = 128 * 14 * 14 * 4       # saliency maps of a member's batch
    latency_s, bytes_per_s = 10e-6, 20e9     # assumed, between nodes
    node_ranks, node_bytes_per_s = 8, 150e9  # assumed, NVLink
    noise = 0.03
    loader_s = 1 / 4000.0                    # per image, from JPEG: 8 cores per GPU at 500 images per second each, assumed
    runs_start_s, epochs, rows = 60.0, 30, 1281167


def waves_of(case, rng):
    """Lists of steps; a step is its tuple of members."""
    steps = [tuple(rng.sample(range(case.members), case.active)) for _ in range(STEPS)]
    waves, pending = [], []
    taken = 0
    while pending or taken < STEPS:
        while len(pending) < LOOK_AHEAD and taken < STEPS:
            pending.append(steps[taken])
            taken += 1
        seen, wave, left = set(), [], []
        for step in pending:
            (left if seen.intersection(step) else wave).append(step)
            seen.update(step)
        waves.append(wave)
        pending = left
    return waves


def group_of(case, parts):
    """The part that holds each member: contiguous, the first parts are the longer ones."""
    base, more = divmod(case.members, parts)
    return [part for part in range(parts) for _ in range(base + (part < more))]


def step_seconds(case, waves, parts, data):
    """Seconds per step of one run on parts x data ranks, and the part of them lost to each cause."""
    part = group_of(case, parts)
    split_s = (case.pair_s - case.fixed_s) / data + case.fixed_s
    ideal = even = uneven = noisy = messages = 0.0
    ranks = parts * data
    bytes_per_s = case.node_bytes_per_s if ranks <= case.node_ranks else case.bytes_per_s
    for wave in waves:
        load = [0] * parts
        for step in wave:
            for member in step:
                load[part[member]] += 1
        pairs, most = sum(load), max(load)
        ideal += pairs * case.pair_s / ranks
        even += pairs * split_s / parts
        uneven += most * split_s
        # The slowest of the equally loaded ranks: the mean of the largest of n exponential draws is 1 + 1/2 + .. + 1/n.
        busy = sum(1 for own in load if own == most) * data
        noisy += most * split_s * (1 + case.noise * _log(busy))
        if ranks > 1:
            messages += (ranks - 1).bit_length() * case.latency_s + len(wave) * case.active * case.exchange_bytes / bytes_per_s
        if data > 1:
            messages += 2 * (data - 1).bit_length() * case.latency_s + 2 * (data - 1) / data * most * case.gradient_bytes / bytes_per_s
    reading = len(waves) and STEPS * case.loader_s * case.batch * (case.active if case.loader_s else 0) / ranks
    computed = noisy + messages
    total = max(computed, reading)
    lost = {"batch split": even - ideal, "uneven": uneven - even, "noise": noisy - uneven, "messages": messages, "reading": total - computed}
    return total / STEPS, {what: seconds / STEPS for what, seconds in lost.items()}


def _log(count):
    value = 0.0
    for k in range(1, min(count, 2000) + 1):
        value += 1.0 / k
    return value - 1.0


def fewest(total, most):
    """The numbers of parts with a shorter longest part than any smaller number: 50 -> 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 17, 25, 50."""
    return sorted({-(-total // -(-total // parts)) for parts in range(1, min(total, most) + 1)})


def best(case, ranks, runs, known):
    found = None
    for side in fewest(runs, ranks):
        for parts in fewest(case.members, ranks // side):
            data = 1
            while data <= min(ranks // side // parts, case.batch // 2):
                if (parts, data) not in known:
                    known[parts, data] = step_seconds(case, known["waves"], parts, data)
                step_s, lost = known[parts, data]
                rounds = -(-runs // side)
                total = rounds * step_s * case.epochs * (case.rows // case.batch) + case.runs_start_s
                if found is None or total < found[0]:
                    found = (total, side, parts, data, step_s, lost, rounds)
                data *= 2
    return found


def report(case, counts):
    print(f"\n{case.name}\n")
    print("| runs | ranks | grid | ms per step | total | speedup | efficiency | largest losses |\n|---|---|---|---|---|---|---|---|")
    known = {"waves": waves_of(case, random.Random(1))}
    for runs in (1, 5, 40):
        alone = None
        for ranks in [1] + counts:
            total, side, parts, data, step_s, lost, rounds = best(case, ranks, runs, known)
            used = side * parts * data
            alone = alone or total
            worst = sorted(lost.items(), key=lambda item: -item[1])[:2]
            names = [f"{what} {100 * seconds / step_s:.0f} %" for what, seconds in worst if seconds > 0.02 * step_s]
            idle = runs / (side * rounds)
            if idle < 0.98:
                names.insert(0, f"runs do not divide: {100 * (1 - idle):.0f} %")
            if used < 0.95 * ranks:
                names.insert(0, f"{ranks - used} idle ranks")
            print(f"| {runs} | {ranks} | {side} x {parts} x {data} | {step_s * 1e3:.3g} | {total / 3600:.2f} h | {alone / total:.1f} | {100 * alone / total / ranks:.0f} % | {', '.join(names) or '-'} |")


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[1:]] or [8, 64, 1000]
    for kind in (Heads, Images):
        report(kind, counts)
