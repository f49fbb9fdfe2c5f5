#!/usr/bin/env python3
"""The work of bench_image_step in plain PyTorch: SDDE's training step of image ensembles.

Each member's cross-entropy on its own batch, then one batch through all members in evaluation mode, Grad-CAM of the true logit with a graph, mean cosine
of the pairs of maps, one backward pass, SGD with Nesterov momentum. Prints one JSON object per line, see scripts/bench.
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

from _device import add_arguments, autocast, choose, scaler, synchronise


class LeNet(nn.Module):
    """SDDE's LeNet; forward returns the logits and the second block's maps."""

    def __init__(self):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.block3 = nn.Sequential(nn.Conv2d(16, 120, 5), nn.ReLU())
        self.classifier1 = nn.Linear(120, 84)
        self.fc = nn.Linear(84, 10)

    def forward(self, x):
        maps = self.block2(self.block1(x))
        return self.fc(F.relu(self.classifier1(self.block3(maps).flatten(1)))), maps


class Block(nn.Module):
    def __init__(self, into, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(into, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or into != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(into, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class Bottleneck(nn.Module):
    def __init__(self, into, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(into, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or into != 4 * planes:
            self.shortcut = nn.Sequential(nn.Conv2d(into, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes))

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet50(nn.Module):
    """torchvision's ResNet50; forward returns the logits and the maps of layer3."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        layers, into = [], 64
        for planes, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            first = Bottleneck(into, planes, stride)
            into = 4 * planes
            layers.append(nn.Sequential(first, *(Bottleneck(into, planes, 1) for _ in range(blocks - 1))))
        self.layers = nn.ModuleList(layers)
        self.fc = nn.Linear(2048, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i == 2:
                maps = x
        return self.fc(x.mean((2, 3))), maps


class ResNet18(nn.Module):
    """The ResNet18 for 32 x 32 images; forward returns the logits and the maps of layer3."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        layers, into = [], 64
        for planes, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            layers.append(nn.Sequential(Block(into, planes, stride), Block(planes, planes, 1)))
            into = planes
        self.layers = nn.ModuleList(layers)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i == 2:
                maps = x
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1)), maps


def saliency(logits, labels, maps):
    chosen = logits.gather(1, labels[:, None]).sum()
    weights = torch.autograd.grad(chosen, maps, create_graph=True)[0].mean((2, 3), keepdim=True)
    found = F.relu((weights * maps).sum(1))[:, 1:-1, 1:-1].flatten(1)
    return (found - found.mean(1, keepdim=True)) / (found.std(1, unbiased=False, keepdim=True) + 1e-6)


def likeness(maps):
    unit = maps / (maps.norm(dim=2, keepdim=True) + 1e-6)
    cosine = torch.einsum("ibd,jbd->bij", unit, unit)
    members = len(maps)
    return ((cosine.sum((1, 2)) - cosine.diagonal(dim1=1, dim2=2).sum(1)) / (members * (members - 1))).mean()


def time_steps(args, what, network, members, size, batch, warm_up, steps):
    torch.manual_seed(1)
    device, loss_scale = args.torch_device, scaler(args)
    nets = [network().to(device) for _ in range(members)]
    optimizer = torch.optim.SGD([p for net in nets for p in net.parameters()], lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    images, labels = torch.randn(members, batch, 3, size, size).to(device), torch.randint(10, (members, batch)).to(device)
    times = []
    for s in range(warm_up + steps):
        synchronise(device)
        start = time.perf_counter()
        for net in nets:
            net.train()
        loss = sum(F.cross_entropy(net_out(args, net, x, y)[0], y) for net, x, y in zip(nets, images, labels)) / members
        for net in nets:
            net.eval()
        drawn = s % members
        loss = loss + 0.1 * likeness(torch.stack([saliency(*net_out(args, net, images[drawn], labels[drawn])) for net in nets]))
        optimizer.zero_grad(set_to_none=True)
        loss_scale.scale(loss).backward()
        loss_scale.step(optimizer)
        loss_scale.update()
        synchronise(device)
        if s >= warm_up:
            times.append(time.perf_counter() - start)
    ms = statistics.median(times) * 1e3
    print(json.dumps({"bench": "image_step", "peer": "torch", "what": what, "ranks": 1, "threads": args.threads, "ms": round(ms, 3), "rows_per_s": round(batch * members / ms * 1e3)}), flush=True)


def net_out(args, net, x, y):
    with autocast(args):
        logits, maps = net(x)
    return logits.float(), y, maps


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="")
    add_arguments(parser, ["f32", "bf16"], ["f32", "tf32", "bf16", "f16"])
    args = parser.parse_args()
    args.torch_device = choose(args)
    torch.set_num_threads(args.threads)
    gpu = args.device == "cuda"
    cases = [("lenet", LeNet, 5, 28, 128, 10, 30), ("lenet6", LeNet, 6, 28, 128, 10, 30), ("resnet18", ResNet18, 5, 32, 128, *((5, 15) if gpu else (1, 2)))]
    if gpu or args.only == "resnet50":  # minutes on a CPU
        cases.append(("resnet50", ResNet50, 5, 224, 32, *((5, 10) if gpu else (1, 1))))
    for what, network, members, size, batch, warm_up, steps in cases:
        if args.only in ("", what):
            time_steps(args, what, network, members, size, batch, warm_up, steps)


if __name__ == "__main__":
    main()
