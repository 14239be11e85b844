"""What somebody dropped on the page, what can be asked of it, and the work items that come of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deconvnet.blur.camera import linear_to_srgb
from deconvnet.colour import luminance
from deconvnet.files.formats import WRITABLE, is_raw
from deconvnet.io import depth_for, read_image, write_image
from deconvnet.restore.deconvolve.solvers import REFINED_PSF, estimate_noise
from deconvnet.work.items import PREVIEW_SIDE, BurstItem, Item, PhotoItem

__all__ = ["Dropped", "Wishes", "command", "look_at", "make_item", "noise_for", "part_around", "shown_as"]

#: Side of the small picture on which a part is marked.
OVERVIEW_SIDE = 640
#: What browsers show as it is.
BROWSERS = (".avif", ".bmp", ".jpeg", ".jpg", ".png", ".webp")
#: Format of results of files that cannot be written, which are RAW files.
INSTEAD = ".tif"


@dataclass(frozen=True)
class Dropped:
    """One photograph, or the frames of one burst, in a folder of their own.

    Attributes
    ----------
    files : tuple of Path
        In the order of their names.
    width, height : int
        Of the first, upright.
    noise : float
        Of the first, with what an estimated PSF leaves unexplained: where the strength's scale is zero.
    overview : Path
        A small picture of the first.
    """

    files: tuple[Path, ...]
    width: int
    height: int
    noise: float
    overview: Path

    @property
    def burst(self) -> bool:
        return len(self.files) > 1


@dataclass
class Wishes:
    """What is set on the page.

    Attributes
    ----------
    psf_size : int or None
        Side of the PSF; None to let it be found.
    strength : float
        0 as estimated; 1 more takes half of the noise for granted: sharper, with more grain.
    varying : bool
    refine : bool
        Of a burst's PSFs.
    suffix : str
        Of the result; empty for that of the input.
    centre : (float, float)
        Of the part to try, from 0 to 1 across and down.
    """

    psf_size: int | None = None
    strength: float = 0.0
    varying: bool = False
    refine: bool = True
    suffix: str = ""
    centre: tuple[float, float] = field(default=(0.5, 0.5))


def look_at(files: list[Path], folder: Path) -> Dropped:
    """Read the first file, and make a small picture of it in the folder.

    Raises
    ------
    DeconvnetError
        If it cannot be read.
    """
    from PIL import Image

    files = sorted(files)
    pixels, _, metadata = read_image(files[0], linear_raw=True)
    height, width = pixels.shape[:2]
    noise = float(np.hypot(estimate_noise(luminance(pixels)), REFINED_PSF)) if min(height, width) > 8 else REFINED_PSF
    pixels = linear_to_srgb(pixels) if is_raw(files[0]) else pixels
    times = max(1, -(-max(height, width) // OVERVIEW_SIDE))
    small = Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).reduce(times)
    overview = folder / "overview.png"
    write_image(overview, np.asarray(small, np.float32) / 255, metadata=metadata)
    return Dropped(tuple(files), width, height, noise, overview)


def part_around(dropped: Dropped, centre: tuple[float, float]) -> tuple[int, int, int, int]:
    """The part to try, ``(x, y, width, height)``: as large as a preview, within the picture."""
    width, height = min(dropped.width, PREVIEW_SIDE), min(dropped.height, PREVIEW_SIDE)
    x = min(max(round(centre[0] * dropped.width - width / 2), 0), dropped.width - width)
    y = min(max(round(centre[1] * dropped.height - height / 2), 0), dropped.height - height)
    return x, y, width, height


def noise_for(dropped: Dropped, strength: float) -> float | None:
    """The noise level that a strength stands for, of two digits; None, to estimate it, for 0."""
    return None if strength == 0 else float(f"{dropped.noise * 2.0**-strength:.2g}")


def make_item(dropped: Dropped, wishes: Wishes, folder: Path, *, part: bool) -> Item:
    """The work item that the page asks for.

    Parameters
    ----------
    dropped : Dropped
    wishes : Wishes
    folder : Path
        Existing; gets the result, what it was before, and its PSFs.
    part : bool
        Only the part around ``wishes.centre``.
    """
    first = dropped.files[0]
    suffix = wishes.suffix or (first.suffix.lower() if first.suffix.lower() in WRITABLE else INSTEAD)
    output = str(folder / f"{first.stem}-sharp{'-part' if part else ''}{suffix}")
    only = part_around(dropped, wishes.centre) if part else None
    before = str(folder / "before.png")
    if dropped.burst:
        return BurstItem(
            output=output,
            only=only,
            before_out=before,
            psf_out=str(folder / "psfs"),
            frames=tuple(str(file) for file in dropped.files),
            lenient=True,
            refine=wishes.refine,
        )
    return PhotoItem(
        output=output,
        only=only,
        before_out=before,
        psf_out=str(folder / "psf.png"),
        photo=str(first),
        psf_size=str(wishes.psf_size or "auto"),
        varying=wishes.varying,
        noise=noise_for(dropped, wishes.strength),
    )


def command(item: Item) -> str:
    """The command line that does the same with files in the current folder."""
    words = ["deconvnet"]
    if isinstance(item, PhotoItem):
        words += ["photo", Path(item.photo).name]
        words += ["--psf-size", item.psf_size] if item.psf_size != "auto" else []
        words += ["--noise", str(item.noise)] if item.noise is not None else []
        words += ["--varying"] if item.varying else []
    else:
        words += ["burst", *(Path(frame).name for frame in item.frames)]
        words += [] if item.refine else ["--no-refine"]
    words += ["--only", ",".join(map(str, item.only))] if item.only else []
    return shlex.join([*words, "-o", Path(item.output).name])


def shown_as(picture: Path) -> Path:
    """A picture that browsers show: the file itself, or a PNG file of 8 bits beside it."""
    if picture.suffix.lower() in BROWSERS:
        return picture
    pixels, bits, metadata = read_image(picture, keep_alpha=True)
    shown = picture.with_name("after.png")
    write_image(shown, pixels, min(depth_for(shown, bits), 8), metadata)
    return shown
