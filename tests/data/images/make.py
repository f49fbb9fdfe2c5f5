#!/usr/bin/env python3
"""tests/data/images/make.py [FOLDER]: writes the small images of this folder and pixels.npy, what Pillow (13.0) reads of them with convert("RGB"), in the
order of their names; pixels_over_colour.npy, the same pasted on 250, 100, 3 with their alpha as mask; and larger ones, large_*, that have rows and columns to pass over. Needs numpy and Pillow."""
import pathlib
import sys

import numpy
from PIL import Image

HEIGHT, WIDTH = 29, 23


def smooth(random, channels, height=HEIGHT, width=WIDTH):
    """Blots and noise, as in a photograph: all of JPEG's frequencies, edges that smooth upsampling shows."""
    small = random.random((5, 5, channels)) * 255
    large = [numpy.asarray(Image.fromarray(small[:, :, c].astype("uint8")).resize((width, height), Image.BICUBIC)) for c in range(channels)]
    return (numpy.stack(large, 2) + random.normal(0, 12, (height, width, channels))).clip(0, 255).astype("uint8")


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    random = numpy.random.default_rng(0)
    rgb, four = Image.fromarray(smooth(random, 3)), smooth(random, 4)
    images = {f"jpeg_{name}.jpg": (rgb, {"quality": 85, "subsampling": value}) for value, name in enumerate(("444", "422", "420"))}
    images |= {
        "jpeg_cmyk.jpg": (Image.fromarray(four, "CMYK"), {"quality": 80}),
        "jpeg_grey.jpg": (rgb.convert("L"), {"quality": 80}),
        "jpeg_progressive.jpg": (rgb, {"quality": 70, "progressive": True}),
        "jpeg_restart.jpg": (rgb, {"quality": 70, "restart_marker_blocks": 2}),
        "png_1bit.png": (rgb.convert("1"), {}),
        "png_grey.png": (rgb.convert("L"), {}),
        "png_grey16.png": (Image.fromarray(smooth(random, 1)[:, :, 0].astype("uint16") * 5), {}),
        "png_grey_alpha.png": (Image.fromarray(four, "RGBA").convert("LA"), {}),
        "png_palette.png": (rgb.quantize(100), {}),
        "png_palette4.png": (rgb.quantize(13), {"bits": 4}),
        "png_palette_transparent.png": (rgb.quantize(50), {"transparency": 3}),
        "png_rgb.png": (rgb, {}),
        "png_rgba.png": (Image.fromarray(four, "RGBA"), {}),
    }
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    wide = Image.fromarray(smooth(random, 3, 150, 203))
    for value, name in enumerate(("444", "422", "420")):
        wide.save(folder / f"large_jpeg_{name}.jpg", quality=85, subsampling=value)
    pixels = [numpy.asarray(Image.open(folder / name).convert("RGB")) for name in sorted(images)]
    numpy.save(folder / "pixels.npy", numpy.stack(pixels))
    # The same with a colour behind what is transparent.
    over = []
    for name in sorted(images):
        image = Image.open(folder / name)
        below = Image.new("RGB", image.size, (250, 100, 3))
        alpha = image.mode in ("LA", "RGBA") or "transparency" in image.info
        image = image.convert("RGBA") if alpha else image.convert("RGB")
        below.paste(image, mask=image.getchannel("A") if alpha else None)
        over.append(numpy.asarray(below))
    numpy.save(folder / "pixels_over_colour.npy", numpy.stack(over))


if __name__ == "__main__":
    main()
