#!/usr/bin/env python3
"""make_world.py FOLDER IMAGES: the data that SED's README asks for, small: its folders and names, few images.

FOLDER/data/datasets: ImageNet2012/{train,val} (a folder for each of the 1,000 synsets, IMAGES of them with an image), imagenet-a, imagenet-r (the 200 of theirs),
imagenet-c/<corruption>/{1,5}, iNaturalist/images, openimages. FOLDER/data/weights/deit_3_base_224_21k.pth: DeiT-3 Base/16 by the release's key names, random.
Images are JPEGs of another size each, drawn from their place; everything is the same in every run.
"""
import csv
import pathlib
import sys

import torch
from PIL import Image

CORRUPTIONS = ["brightness", "contrast", "defocus_blur", "elastic_transform", "fog", "frost", "gaussian_noise", "glass_blur", "impulse_noise", "jpeg_compression",
               "motion_blur", "pixelate", "shot_noise", "snow", "zoom_blur"]
DEPTH, DIM, MLP = 12, 768, 3072


def write_image(path, seed):
    generator = torch.Generator().manual_seed(seed)
    width, height = 240 + seed % 7 * 8, 232 + seed % 5 * 12
    coarse = torch.randint(0, 256, (6 * 6 * 3,), generator=generator, dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", (6, 6), bytes(coarse.tolist())).resize((width, height), Image.BILINEAR).save(path, quality=90)


def write_folders(root, synsets, count, seed, every=1, all_folders=True):
    """An image in each of `count` of the class folders, which are all there (as in a part of a set)."""
    if all_folders:
        for synset in synsets:
            (root / synset).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        synset = synsets[number * every % len(synsets)]
        write_image(root / synset / f"image_{number}.JPEG", seed + number)


def write_weights(path):
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(*shape, generator=generator) * 0.02

    state = {"cls_token": random(1, 1, DIM), "pos_embed": random(1, 196, DIM), "patch_embed.proj.weight": random(DIM, 3, 16, 16), "patch_embed.proj.bias": random(DIM)}
    for block in range(DEPTH):
        name = f"blocks.{block}."
        for norm in ("norm1", "norm2"):
            state |= {f"{name}{norm}.weight": 1 + random(DIM), f"{name}{norm}.bias": random(DIM)}
        for part, shape in (("attn.qkv", (3 * DIM, DIM)), ("attn.proj", (DIM, DIM)), ("mlp.fc1", (MLP, DIM)), ("mlp.fc2", (DIM, MLP))):
            state |= {f"{name}{part}.weight": random(*shape), f"{name}{part}.bias": random(shape[0])}
        state |= {f"{name}gamma_1": 0.1 + random(DIM), f"{name}gamma_2": 0.1 + random(DIM)}
    state |= {"norm.weight": 1 + random(DIM), "norm.bias": random(DIM), "head.weight": random(1000, DIM), "head.bias": random(1000)}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state}, path)


def main():
    folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    table = pathlib.Path(__file__).resolve().parents[3] / "data" / "classes" / "imagenet_classes.csv"
    with open(table, newline="") as file:
        classes = list(csv.DictReader(file))
    synsets = [row["wnid"] for row in classes]
    datasets = folder / "data" / "datasets"
    write_folders(datasets / "ImageNet2012" / "train", synsets, 2 * count, 100, every=7)
    write_folders(datasets / "ImageNet2012" / "val", synsets, count, 200, every=7)
    for letter, seed in (("a", 300), ("r", 400)):
        own = [row["wnid"] for row in classes if row[f"in_imagenet_{letter}"] == "1"]
        write_folders(datasets / f"imagenet-{letter}", own, count, seed, every=3)
    for number, corruption in enumerate(CORRUPTIONS):
        for severity in (1, 5):
            write_folders(datasets / "imagenet-c" / corruption / str(severity), synsets[:8], count, 500 + 40 * number + severity)
    for number in range(count):
        write_image(datasets / "iNaturalist" / "images" / f"plant_{number}.jpg", 2000 + number)
        write_image(datasets / "openimages" / f"thing_{number}.jpg", 3000 + number)
    write_weights(folder / "data" / "weights" / "deit_3_base_224_21k.pth")


if __name__ == "__main__":
    main()
