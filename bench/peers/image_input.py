#!/usr/bin/env python3
"""torchvision's way of what bench_image_input times: JPEG files to normalised tensors, decode and transform alone, on the files of that benchmark
(results/bench/images, which it writes). Images are opened with PIL as torchvision's datasets do; the work is split over --threads processes (a DataLoader's
workers without its queue: each process goes through its share, and the slowest counts) and over threads of one process (--kind threads).
Prints one JSON object a line, see scripts/bench. Needs torchvision and Pillow."""
import argparse
import concurrent.futures
import json
import multiprocessing
import pathlib
import statistics
import sys
import time

try:
    import PIL
    import torch
    import torchvision
    from PIL import Image
    from torchvision import transforms
except ImportError as error:
    sys.exit(f"left out: {error}")

NORMALISE = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
TRANSFORMS = {
    "jpeg to imagenet_train": transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *NORMALISE]),
    "jpeg to imagenet_test": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *NORMALISE]),
}


def work(share):
    """Milliseconds that the share takes."""
    what, paths = share
    torch.set_num_threads(1)
    start = time.perf_counter()
    for path in paths:
        with Image.open(path) as image:
            TRANSFORMS[what](image.convert("RGB"))
    return (time.perf_counter() - start) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", default="results/bench/images")
    parser.add_argument("--kind", choices=["processes", "threads"], default="processes")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(map(str, pathlib.Path(args.images).glob("*.jpg")))
    if not paths:
        sys.exit(f"{args.images}: no *.jpg; bench_image_input writes them")
    pool = multiprocessing.get_context("fork").Pool(args.threads) if args.kind == "processes" else concurrent.futures.ThreadPoolExecutor(args.threads)
    for what in TRANSFORMS:
        shares, times = [(what, paths[i :: args.threads]) for i in range(args.threads)], []
        for repeat in range(args.repeats + 1):
            start = time.perf_counter()
            list(pool.map(work, shares, **({"chunksize": 1} if args.kind == "processes" else {})))
            if repeat:  # the first warms up
                times.append((time.perf_counter() - start) * 1e3 / len(paths))
        print(json.dumps({"bench": "image_input", "peer": "torch", "what": what, "ms": statistics.median(times), "min_ms": min(times), "kind": args.kind,
                          "images_per_s": 1e3 / statistics.median(times), "threads": args.threads, "images": len(paths), "torchvision": torchvision.__version__,
                          "pillow": PIL.__version__}), flush=True)


if __name__ == "__main__":
    main()
