#!/usr/bin/env python3
"""make_world.py FOLDER [--per-class N] [--known N] [--unknown N]: the data of SDDE's experiments in OpenOOD's layout and names, with few small images.

FOLDER/data/benchmark_imglist/SET/*.txt, FOLDER/data/images_classic, FOLDER/data/images_largescale. Every set has the classes that it has: training lists hold N
images of each class, validation and test lists at least one of the first and last class. Pixels follow from set, class and number alone; images of ImageNet and its
relatives are JPEGs, the others PNGs, as OpenOOD has them. Standard library only.
"""
import argparse
import os
import random
import struct
import zlib

# Names of OpenOOD 1.5's lists (of its first release for mnist) by benchmark: (list, folder of the images, kind). Kinds: train, known (labels of all classes), shifted
# (the same), unknown (label -1), outliers (label -1).
CLASSIC = "images_classic"
LARGE = "images_largescale"
BENCHMARKS = {
    "mnist": (10, 28, [
        ("train_mnist", "mnist/train", "train"), ("val_mnist", "mnist/val", "known"), ("test_mnist", "mnist/test", "known"),
        ("val_notmnist", "notmnist/val", "unknown"), ("test_notmnist", "notmnist/test", "unknown"), ("test_fashionmnist", "fashionmnist/test", "unknown"),
        ("test_texture", "texture", "unknown"), ("test_cifar10", "cifar10/test", "unknown"), ("test_tin", "tin/test", "unknown"),
        ("test_places365", "places365", "unknown")]),
    "cifar10": (10, 32, [
        ("train_cifar10", "cifar10/train", "train"), ("val_cifar10", "cifar10/val", "known"), ("test_cifar10", "cifar10/test", "known"),
        ("val_tin", "tin/val", "unknown"), ("test_cifar100", "cifar100/test", "unknown"), ("test_tin", "tin/test", "unknown"), ("test_mnist", "mnist/test", "unknown"),
        ("test_svhn", "svhn/test", "unknown"), ("test_texture", "texture", "unknown"), ("test_places365", "places365", "unknown"),
        ("train_tin597", "tin597/train", "outliers")]),
    "cifar100": (100, 32, [
        ("train_cifar100", "cifar100/train", "train"), ("val_cifar100", "cifar100/val", "known"), ("test_cifar100", "cifar100/test", "known"),
        ("val_tin", "tin/val", "unknown"), ("test_cifar10", "cifar10/test", "unknown"), ("test_tin", "tin/test", "unknown"), ("test_mnist", "mnist/test", "unknown"),
        ("test_svhn", "svhn/test", "unknown"), ("test_texture", "texture", "unknown"), ("test_places365", "places365", "unknown"),
        ("train_tin597", "tin597/train", "outliers")]),
    "imagenet200": (200, 64, [
        ("train_imagenet200", "imagenet_1k/train", "train"), ("val_imagenet200", "imagenet_1k/val", "known"), ("test_imagenet200", "imagenet_1k/test", "known"),
        ("val_openimage_o", "openimage_o/val", "unknown"), ("test_ssb_hard", "ssb_hard", "unknown"), ("test_ninco", "ninco", "unknown"),
        ("test_inaturalist", "inaturalist", "unknown"), ("test_textures", CLASSIC + "/texture", "unknown"), ("test_openimage_o", "openimage_o/test", "unknown"),
        ("test_imagenet200_v2", "imagenet_v2", "shifted"), ("test_imagenet200_c", "imagenet_c", "shifted"), ("test_imagenet200_r", "imagenet_r", "shifted"),
        ("train_imagenet800", "imagenet_1k/train800", "outliers")]),
    "imagenet": (1000, 64, [
        ("train_imagenet", "imagenet_1k/train", "train"), ("val_imagenet", "imagenet_1k/val", "known"), ("test_imagenet", "imagenet_1k/test", "known"),
        ("val_openimage_o", "openimage_o/val", "unknown"), ("test_ssb_hard", "ssb_hard", "unknown"), ("test_ninco", "ninco", "unknown"),
        ("test_inaturalist", "inaturalist", "unknown"), ("test_textures", CLASSIC + "/texture", "unknown"), ("test_openimage_o", "openimage_o/test", "unknown"),
        ("test_imagenet_v2", "imagenet_v2", "shifted"), ("test_imagenet_c", "imagenet_c", "shifted"), ("test_imagenet_r", "imagenet_r", "shifted"),
        ("test_imagenet_es", "imagenet_es", "shifted"),
        ("train_outliers", "outliers", "outliers")]),  # of nobody's: the combination with ImageNet-1k is ours
}
IN9 = ("00_dog", "01_bird", "02_wheeled vehicle", "03_reptile", "04_carnivore", "05_insect", "06_musical instrument", "07_primate", "08_fish")
HUMAN16 = ("airplane", "bear", "bicycle", "bird", "boat", "bottle", "car", "cat", "chair", "clock", "dog", "elephant", "keyboard", "knife", "oven", "truck")


def png(side, grey, draw):
    """A PNG of side x side: a two-coloured pattern with noise. One channel where grey."""
    channels = 1 if grey else 3
    colours = [bytes(draw.randrange(256) for _ in range(channels)) for _ in range(2)]
    period = draw.randrange(2, 9)
    rows = b"".join(
        b"\0" + b"".join(colours[((x + y) // period + draw.randrange(4) // 3) % 2] for x in range(side)) for y in range(side))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0 if grey else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def jpeg(width, height, draw):
    """A baseline JPEG of width x height (multiples of 8): each block of 8 x 8 has one colour. Its only Huffman codes: the 12 sizes of a DC difference in 4 bits,
    "end of block" in 1."""
    def segment(marker, data):
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    bits, count = 0, 0
    out = bytearray()
    last = [0, 0, 0]
    levels = [[draw.randrange(-60, 61) for _ in range(3)] for _ in range(4)]
    for _ in range(width // 8 * (height // 8)):
        level = levels[draw.randrange(4)]
        for component in range(3):
            value = level[component]
            difference, last[component] = value - last[component], value
            size = abs(difference).bit_length()
            extra = difference if difference >= 0 else difference + (1 << size) - 1
            bits = (((bits << 4 | size) << size | extra) << 1) if size else (bits << 4) << 1
            count += 4 + size + 1
            while count >= 8:
                byte = bits >> (count - 8) & 255
                out += bytes((byte, 0)) if byte == 255 else bytes((byte,))
                count -= 8
            bits &= (1 << count) - 1
    if count:
        byte = (bits << (8 - count) | (1 << (8 - count)) - 1) & 255
        out += bytes((byte, 0)) if byte == 255 else bytes((byte,))
    # Quantiser 16 for DC: a level is 16 / 8 = 2 grey levels.
    return (b"\xff\xd8" + segment(0xDB, b"\0" + bytes([16] * 64))
            + segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + bytes((1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0)))
            + segment(0xC4, b"\0" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12)))
            + segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
            + segment(0xDA, bytes((3, 1, 0, 2, 0, 3, 0, 0, 63, 0))) + bytes(out) + b"\xff\xd9")


class World:
    def __init__(self, folder):
        self.folder = os.path.join(folder, "data")
        self.made = set()

    def image(self, path, side, grey=False):
        """The image FOLDER/data/path, once."""
        if path in self.made:
            return
        self.made.add(path)
        draw = random.Random(path)
        place = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(png(side, grey, draw) if path.endswith(".png") else jpeg(side, side + 16, draw))

    def image_list(self, path, lines):
        place = os.path.join(self.folder, "benchmark_imglist", path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w", encoding="ascii") as file:
            file.writelines(f"{image} {label}\n" for image, label in lines)

    def benchmark(self, name, per_class, known, unknown):
        classes, side, lists = BENCHMARKS[name]
        top = CLASSIC if side < 64 else LARGE
        for file, folder, kind in lists:
            root = top
            if folder.startswith(CLASSIC + "/"):
                root, folder = CLASSIC, folder[len(CLASSIC) + 1:]
            if kind == "train":
                labels = [label for label in range(classes) for _ in range(per_class)]
            elif kind in ("known", "shifted"):
                wanted = known if kind == "known" else unknown
                spread = min(classes, wanted)
                labels = [i * (classes - 1) // (spread - 1) for i in range(spread)] * max(1, wanted // classes)
            else:
                labels = [-1] * unknown
            lines = []
            for number, label in enumerate(labels):
                group = f"{label:04d}" if label >= 0 else f"{number % 4:04d}"
                large = root == LARGE
                image = f"{folder}/{group}/{name if label >= 0 else 'x'}_{number:05d}.{'JPEG' if large else 'png'}"
                size = 224 if folder == "imagenet_c" else side
                self.image(f"{root}/{image}", size, grey=folder.split("/")[0] in ("mnist", "notmnist", "fashionmnist"))
                lines.append((image, label))
            self.image_list(f"{name}/{file}.txt", lines)

    def stored_corruptions(self):
        """Lists of stored corrupted pictures under the names that SDDE reads; it publishes none."""
        for name, files in (("cifar10", ("c1", "c5")), ("cifar100", ("c1", "c5")), ("imagenet", ("c1",))):
            classes, side, _ = BENCHMARKS[name]
            for file in files:
                for part in ("val", "test") if name != "imagenet" else ("test",):
                    lines = []
                    for i in range(12):
                        label = i * (classes - 1) // 11
                        end = "png" if name != "imagenet" else "JPEG"
                        image = f"{name}-{file}/{part}/{i:03d}.{end}"
                        self.image(f"{CLASSIC if name != 'imagenet' else LARGE}/{image}", side if name != "imagenet" else 224)
                        lines.append((image, label))
                    self.image_list(f"{name}-{file}/{name}_{file}_{part}.txt", lines)

    def categories(self):
        """ImageNet-9's folders, and model-vs-human's files, whose names hold their category in the fifth part."""
        for variant in ("original", "mixed_same", "mixed_rand", "mixed_next", "only_fg", "no_fg"):
            for label in IN9:
                self.image(f"{LARGE}/bg_challenge/{variant}/val/{label}/fg_0.JPEG", 64)
        for variant in ("sketch", "stylized", "edge", "silhouette", "cue-conflict"):
            for number, label in enumerate(HUMAN16):
                self.image(f"{LARGE}/model-vs-human/{variant}/session-1/{number + 1:04d}_{variant[:3]}_dnn_0_{label}_{number:02d}_x.png", 64)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--per-class", type=int, default=2, help="training images a class")
    parser.add_argument("--known", type=int, default=20, help="validation and test images of a set; spread over its classes where these are more")
    parser.add_argument("--unknown", type=int, default=8, help="images of an unknown or shifted set, and outliers")
    options = parser.parse_args()
    world = World(options.folder)
    for name in BENCHMARKS:
        world.benchmark(name, options.per_class, options.known, options.unknown)
    world.stored_corruptions()
    world.categories()


if __name__ == "__main__":
    main()
