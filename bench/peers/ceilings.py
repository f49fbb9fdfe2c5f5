"""Limits of a device, measured with PyTorch: throughput of copies, products and launches. Prints one JSON object per line.

python bench/peers/ceilings.py [--device cuda] [--mib 1024] [--side 8192]
"""
import argparse
import json
import time

import torch


def seconds_of(work, device, repeats):
    """Median seconds of a piece of work, after two warm-up runs."""
    times = []
    for i in range(repeats + 2):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        if i >= 2:
            times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def say(what, seconds, **figures):
    print(json.dumps({"bench": "ceilings", "peer": "torch", "what": what, "ms": round(seconds * 1e3, 4), **figures}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--mib", type=int, default=1024, help="size of a copy in MiB")
    parser.add_argument("--side", type=int, default=8192, help="rows and columns of the matrices of a product")
    args = parser.parse_args()
    device = args.device

    source = torch.ones(args.mib << 18, device=device)
    target = torch.empty_like(source)
    seconds = seconds_of(lambda: target.copy_(source), device, 7)
    say(f"copy {args.mib} MiB", seconds, gb_s=round(2 * source.nbytes / seconds * 1e-9, 1))
    if device == "cuda":
        host = torch.ones(64 << 18, pin_memory=True)
        there = torch.empty_like(host, device=device)
        seconds = seconds_of(lambda: there.copy_(host, non_blocking=True), device, 7)
        say("copy 64 MiB from pinned memory", seconds, gb_s=round(host.nbytes / seconds * 1e-9, 1))
    del source, target

    for name, dtype, tf32 in (("f32", torch.float32, False), ("tf32", torch.float32, True), ("bf16", torch.bfloat16, False), ("f16", torch.float16, False)):
        if device == "cpu" and name != "f32":
            continue
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a = torch.ones(args.side, args.side, device=device, dtype=dtype)
        out = torch.empty_like(a)
        seconds = seconds_of(lambda a=a, out=out: torch.mm(a, a, out=out), device, 5)
        say(f"product {args.side} {name}", seconds, tflops=round(2 * args.side**3 / seconds * 1e-12, 1))

    one = torch.zeros(1, device=device)

    def launches():
        for _ in range(1000):
            one.add_(1)

    say("launch", seconds_of(launches, device, 5) / 1000)


if __name__ == "__main__":
    main()
