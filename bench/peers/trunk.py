#!/usr/bin/env python3
"""The work of bench_trunk in plain PyTorch: DeiT-3 Base's class token after the last attention, for 32 images.

The network as in the DeiT repository and timm, with PyTorch's fused attention, in evaluation mode under torch.inference_mode(). Prints one JSON
object, see scripts/bench.
"""
import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import nn

from _device import add_arguments, autocast, choose


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gamma_1, self.gamma_2 = nn.Parameter(1e-4 * torch.ones(dim)), nn.Parameter(1e-4 * torch.ones(dim))

    def attend(self, x):
        rows, tokens, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(rows, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, tokens, dim)
        return x + self.gamma_1 * self.proj(mixed)

    def forward(self, x):
        x = self.attend(x)
        return x + self.gamma_2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Trunk(nn.Module):
    def __init__(self, dim=768, depth=12, heads=12):
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 16, 16)
        self.cls, self.position = nn.Parameter(torch.randn(1, 1, dim)), nn.Parameter(torch.randn(1, 196, dim))
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(depth)])

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.blocks[-1].attend(x)[:, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2)
    add_arguments(parser, ["f32", "bf16"], ["f32", "tf32", "bf16", "f16"])
    args = parser.parse_args()
    device = choose(args)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    trunk, x = Trunk().eval().to(device), torch.randn(args.batch, 3, 224, 224)  # images are copied from the host, features to the host
    times = []
    with torch.inference_mode(), autocast(args):
        for _ in range(args.steps + 1):  # the first one warms up
            start = time.perf_counter()
            trunk(x.to(device)).float().cpu()
            times.append(time.perf_counter() - start)
    best = min(times[1:])
    print(json.dumps({"bench": "trunk", "peer": "torch", "what": f"deit3_base_patch16_224 {args.precision}", "threads": args.threads, "rows": args.batch,
                      "ms": round(best * 1e3, 1), "rows_per_s": round(args.batch / best, 2)}), flush=True)


if __name__ == "__main__":
    main()
