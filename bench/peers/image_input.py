#!/usr/bin/env python3
"""The work of bench_image_input with torchvision: JPEG files to normalised tensors, decode and transform alone, on the files of that benchmark
(results/bench/images, which it writes). Images are opened with PIL as torchvision's datasets do; the work is split over --threads processes (a DataLoader's
workers without its queue: each process goes through its share, and the slowest counts) and over threads of one process (--kind threads).
cpu_ms is processor time. Prints one JSON object per line, see scripts/bench. Needs torchvision and Pillow."""
import argparse
import concurrent.futures
import itertools
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
    from torchvision import io, transforms
    from torchvision.transforms import v2
except ImportError as error:
    print(f"skipping image_input.py: {error}", file=sys.stderr)
    sys.exit(0)

NORMALISE = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
TRANSFORMS = {
    "jpeg to imagenet_train": transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *NORMALISE]),
    "jpeg to imagenet_test": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *NORMALISE]),
}

# The same on tensors of bytes, decoded by torchvision itself; in places resizing gives other pixels than PIL's.
NORMALISE_V2 = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
TENSOR_TRANSFORMS = {
    "jpeg to imagenet_train": v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), *NORMALISE_V2]),
    "jpeg to imagenet_test": v2.Compose([v2.Resize(256), v2.CenterCrop(224), *NORMALISE_V2]),
}


def work(share):
    """Milliseconds of processor time for the share."""
    what, peer, paths = share
    torch.set_num_threads(1)
    start = time.process_time()
    for path in paths:
        if peer == "torch":
            with Image.open(path) as image:
                TRANSFORMS[what](image.convert("RGB"))
        else:
            TENSOR_TRANSFORMS[what](io.decode_jpeg(io.read_file(path), io.ImageReadMode.RGB))
    return (time.process_time() - start) * 1e3


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
        sys.exit(f"{args.images}: expected *.jpg files, found none; bench_image_input writes them")
    pool = multiprocessing.get_context("fork").Pool(args.threads) if args.kind == "processes" else concurrent.futures.ThreadPoolExecutor(args.threads)
    for what, peer in itertools.product(TRANSFORMS, ("torch", "torch tensors")):
        shares, times, used = [(what, peer, paths[i :: args.threads]) for i in range(args.threads)], [], []
        for repeat in range(args.repeats + 1):
            start = time.perf_counter()
            cpu = sum(pool.map(work, shares, **({"chunksize": 1} if args.kind == "processes" else {})))
            if repeat:  # the first warms up
                times.append((time.perf_counter() - start) * 1e3 / len(paths))
                used.append(cpu / len(paths))
        more = {"cpu_ms": statistics.mean(used)} if args.kind == "processes" else {}
        print(json.dumps({"bench": "image_input", "peer": peer, "what": what, "ms": statistics.median(times), **more, "min_ms": min(times), "kind": args.kind,
                          "images_per_s": 1e3 / statistics.median(times), "threads": args.threads, "images": len(paths), "torchvision": torchvision.__version__,
                          "pillow": PIL.__version__}), flush=True)


if __name__ == "__main__":
    main()
