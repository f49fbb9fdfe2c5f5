#!/usr/bin/env python3
"""The work of bench_head_step in plain PyTorch: training steps and evaluation of SED's heads on cached features.

Cases: adamw (5 members, batch 32, cross-entropy and weighted A2D), sgd (50 members, batch 16, cross-entropy), evaluate (5 members).
Prints one JSON object per line, see scripts/bench.
"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

from _device import add_arguments, autocast, choose, synchronise


class BlockHead(nn.Module):
    """SED's member: x + gamma_2 fc2(gelu(fc1(norm2(x)))), then the final norm and the classifier."""

    def __init__(self, features, hidden, classes):
        super().__init__()
        self.norm2 = nn.LayerNorm(features, eps=1e-6)
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, features)
        self.gamma_2 = nn.Parameter(torch.full((features,), 1e-4))
        self.norm = nn.LayerNorm(features, eps=1e-6)
        self.head = nn.Linear(features, classes)
        for layer in (self.fc1, self.fc2, self.head):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        return self.head(self.norm(x + self.gamma_2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))))


def hard_sample_weight(logits, labels):
    """Cross-entropy of the mean logits over the square of its batch mean; a constant."""
    with torch.no_grad():
        loss = F.cross_entropy(logits.mean(0), labels, reduction="none")
        return loss / loss.mean() ** 2


def a2d(logits, drawn):
    """Per sample: mean over the other members i of -log(p_i (1 - p_m) + p_m (1 - p_i) + 1e-9), read at the class that i predicts."""
    p = logits.softmax(-1)
    values = []
    for i in range(len(p)):
        if i != drawn:
            top = p[i].argmax(-1, keepdim=True)
            a, b = p[i].gather(1, top)[:, 0], p[drawn].gather(1, top)[:, 0]
            values.append(-torch.log(a * (1 - b) + b * (1 - a) + 1e-9))
    return torch.stack(values).mean(0)


def objective(logits, labels, smoothing, repulsion, drawn):
    """0.5 CE (mean over members) + repulsion * mean(w A2D)"""
    total = 0.5 * torch.stack([F.cross_entropy(z, labels, label_smoothing=smoothing) for z in logits]).mean()
    if repulsion:
        total = total + repulsion * (hard_sample_weight(logits, labels) * a2d(logits, drawn)).mean()
    return total


class Trainer:
    """One optimiser over all members. In each step two members are drawn and active; the others have no gradient and are skipped."""

    def __init__(self, args, members, batch, make_optimizer, smoothing, repulsion):
        torch.manual_seed(0)
        self.args, self.device = args, args.torch_device
        self.heads = [BlockHead(args.features, args.hidden, args.classes).to(self.device) for _ in range(members)]
        self.optimizer = make_optimizer([p for head in self.heads for p in head.parameters()])
        self.batch, self.smoothing, self.repulsion = batch, smoothing, repulsion
        self.x = torch.randn(args.rows, args.features).to(self.device)
        self.y = torch.randint(args.classes, (args.rows,)).to(self.device)
        self.queue = []

    def active(self):
        """Random pairs from successive permutations of the members, so that after M / 2 steps every member has its optimiser state."""
        if len(self.queue) < 2:
            self.queue = torch.randperm(len(self.heads)).tolist()
        return sorted((self.queue.pop(), self.queue.pop()))

    def step(self):
        rows = torch.randint(len(self.x), (self.batch,)).to(self.device)
        x, y = self.x[rows], self.y[rows]
        with autocast(self.args):
            logits = torch.stack([self.heads[m](x) for m in self.active()]).float()
        loss = objective(logits, y, self.smoothing, self.repulsion, int(torch.randint(2, ())))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss

    def run(self, steps):
        """Milliseconds per step."""
        synchronise(self.device)
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        synchronise(self.device)
        return (time.perf_counter() - start) * 1e3 / steps


def report(what, peer, milliseconds, rows, **more):
    """Median over repeats; rows: rows of one repeat or step."""
    median = statistics.median(milliseconds)
    print(json.dumps({"bench": "head_step", "peer": peer, "what": what, "ms": median, "rows_per_s": rows * 1e3 / median, "min_ms": min(milliseconds),
                      "max_ms": max(milliseconds), "repeats": len(milliseconds), "ranks": 1, "threads": torch.get_num_threads(),
                      "torch": torch.__version__, **more}), flush=True)


def train_case(args, what, members, batch, optimizers, warmup, smoothing, repulsion):
    for peer, make_optimizer in optimizers.items():
        trainer = Trainer(args, members, batch, make_optimizer, smoothing, repulsion)
        trainer.run(warmup)
        if not all(p in trainer.optimizer.state for head in trainer.heads for p in head.parameters()):
            sys.exit(f"{what}: {warmup} warm-up steps left members without optimiser state")
        values = [trainer.run(args.steps) for _ in range(args.repeats)]
        report(what, peer, values, batch)
        del trainer


def products(heads, x):
    """Only the three products of each member."""
    for head in heads:
        hidden = x @ head.fc1.weight.t()
        out = hidden @ head.fc2.weight.t()
        _ = out @ head.head.weight.t()


def forward(heads, x):
    return torch.stack([head(x) for head in heads])


def evaluate_case(args):
    torch.manual_seed(0)
    heads = [BlockHead(args.features, args.hidden, args.classes) for _ in range(5)]
    x = torch.randn(args.evaluate_rows, args.features)
    times = {"evaluate products": [], "evaluate forward": []}
    with torch.inference_mode():
        for repeat in range(args.evaluate_repeats + 1):
            for what, work in (("evaluate products", products), ("evaluate forward", forward)):
                rows = x if repeat else x[: args.block]  # the first round warms up
                start = time.perf_counter()
                for block in rows.split(args.block):
                    work(heads, block)
                if repeat:
                    times[what].append((time.perf_counter() - start) * 1e3)
    for what, values in times.items():
        report(what, "torch", values, len(x), block=args.block)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", choices=["all", "adamw", "sgd", "evaluate"], default="all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--hidden", type=int, default=3072)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=20000, help="number of rows from which batches are drawn")
    parser.add_argument("--steps", type=int, default=30, help="steps per repetition")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--evaluate-rows", type=int, default=50000)
    parser.add_argument("--evaluate-repeats", type=int, default=3)
    parser.add_argument("--block", type=int, default=1024, help="rows per forward pass in the evaluation")
    add_arguments(parser, ["f32"], ["f32", "tf32", "bf16"])
    args = parser.parse_args()
    args.torch_device = choose(args)
    torch.set_num_threads(args.threads)
    if args.case in ("all", "adamw"):
        train_case(args, "step 5 members 2 active batch 32 adamw", 5, 32, {
            "torch": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1),
            "torch fused": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1, fused=True),
        }, warmup=20, smoothing=0.5, repulsion=2.5)
    if args.case in ("all", "sgd"):
        train_case(args, "step 50 members 2 active batch 16 sgd", 50, 16, {
            "torch": lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=1e-4),
            "torch fused": lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True),
        }, warmup=110, smoothing=0.0, repulsion=0.0)
    if args.case in ("all", "evaluate") and args.device == "cpu":  # dissent evaluates on CPUs
        evaluate_case(args)


if __name__ == "__main__":
    main()
