"""Pages of text, generated: a kind of pictures that needs no download and looks like no photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["text_pages"]

#: Letters by how often English uses them, and the spaces between words.
LETTERS = "eeeeeeeeeeeetttttttttaaaaaaaaoooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddlllluuucccmmmwwffggyyppbbvk"
FONTS = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif-Bold.ttf")


def _font(rng: np.random.Generator):
    """One of matplotlib's fonts, 12 to 26 px high."""
    import matplotlib
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / FONTS[rng.integers(len(FONTS))]), int(rng.integers(12, 27)))


def _line(rng: np.random.Generator, count: int) -> str:
    """Words of random letters, ``count`` characters together."""
    words, length = [], 0
    while length < count:
        letters = rng.choice(list(LETTERS), size=rng.integers(1, 10))
        words.append("".join(letters))
        if rng.random() < 0.1:
            words[-1] = words[-1].capitalize()
        length += len(letters) + 1
    return " ".join(words)[:count]


def text_pages(count: int, side: int = 384, seed: int = 0) -> list[np.ndarray]:
    """Dark text on light paper, every page in a font, size and contrast of its own.

    Parameters
    ----------
    count : int
    side : int
        Of the pages, in pixels.
    seed : int

    Returns
    -------
    list of uint8 array (side, side)
    """
    from PIL import Image, ImageDraw

    pages = []
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        font = _font(rng)
        paper, ink = int(rng.integers(200, 256)), int(rng.integers(0, 70))
        page = Image.new("L", (side, side), paper)
        draw = ImageDraw.Draw(page)
        height = round(1.3 * font.size)
        for top in range(0, side, height):
            if rng.random() < 0.1:
                continue  # between paragraphs
            draw.text((int(rng.integers(-8, 9)), top), _line(rng, 2 + 3 * side // font.size), fill=ink, font=font)
        pages.append(np.array(page))
    return pages
