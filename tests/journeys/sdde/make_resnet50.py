#!/usr/bin/env python3
"""make_resnet50.py FILE: random weights of a ResNet50 with 1,000 classes by torchvision's names, as torch.save writes them: what SDDE's runs on ImageNet start from."""
import os
import sys

import torch


def batch_norm(name, channels):
    return {f"{name}.weight": torch.ones(channels), f"{name}.bias": torch.zeros(channels), f"{name}.running_mean": torch.zeros(channels),
            f"{name}.running_var": torch.ones(channels), f"{name}.num_batches_tracked": torch.tensor(0)}


def convolution(name, outputs, inputs, side):
    return {f"{name}.weight": torch.randn(outputs, inputs, side, side) * (2 / (outputs * side * side)) ** 0.5}


def main():
    torch.manual_seed(1)
    state = convolution("conv1", 64, 3, 7) | batch_norm("bn1", 64)
    inputs = 64
    for layer, blocks in enumerate((3, 4, 6, 3), 1):
        width = 32 << layer
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            for number, (out, into, side) in enumerate(((width, inputs, 1), (width, width, 3), (4 * width, width, 1)), 1):
                state |= convolution(f"{name}.conv{number}", out, into, side) | batch_norm(f"{name}.bn{number}", out)
            if block == 0:
                state |= convolution(f"{name}.downsample.0", 4 * width, inputs, 1) | batch_norm(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    state |= {"fc.weight": torch.randn(1000, inputs) * 0.01, "fc.bias": torch.zeros(1000)}
    os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
    torch.save(state, sys.argv[1])


if __name__ == "__main__":
    main()
