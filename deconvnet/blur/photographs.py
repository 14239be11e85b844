"""Where sharp photographs come from: a folder of the user's, or what needs no download."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from deconvnet.blur.dead_leaves import dead_leaves
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError
from deconvnet.io import READABLE, read_image
from deconvnet.progress import step

__all__ = ["Photographs", "default_photographs", "load_photographs", "split_photographs"]

#: Shortest side that the default training crop fits into: 129 + 25 − 1 + 2.
MIN_SIDE = 155
#: Photographs (not diagrams, scans or microscopy, and only one of a stereo pair) that scikit-image's wheel carries.
EMBEDDED = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
_GENERATED = "dead_leaves_"


@dataclass
class Photographs:
    """Photographs as 8-bit luminance.

    Attributes
    ----------
    images : list of uint8 array (H, W)
        Rec. 601 luma of the sRGB values.
    names : list of str
        File names relative to the folder, with ``/``.
    skipped : list of (str, str)
        Name and reason of every file that could not be used.
    """

    images: list[np.ndarray] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Iterable[int]) -> Photographs:
        """The photographs at these indices, without the list of skipped files.

        Parameters
        ----------
        indices : iterable of int

        Returns
        -------
        Photographs
        """
        return Photographs([self.images[i] for i in indices], [self.names[i] for i in indices])


def _read(file: Path) -> np.ndarray:
    """8-bit luminance of a picture file, upright: Rec. 601 luma of the sRGB values, not of linear light."""
    return (luminance(read_image(file).pixels) * 255 + 0.5).astype(np.uint8)


def load_photographs(
    folder: str | Path, *, limit: int | None = None, min_side: int = MIN_SIDE, progress: bool = False
) -> Photographs:
    """All photographs in a folder and the folders in it.

    Parameters
    ----------
    folder : str or Path
        Searched for JPEG, PNG, TIFF, WebP and BMP files by their suffix, upper or lower case.
    limit : int, optional
        Read only this many files, spread evenly over the sorted list.
    min_side : int
        Photographs with a shorter side are skipped; by default what the default training crop needs.
    progress : bool
        Show a progress line, if standard error is a terminal.

    Returns
    -------
    Photographs
        Sorted by name. Files that cannot be read or are too small are in ``skipped``, and one warning names them.

    Raises
    ------
    DeconvnetError
        If the folder does not exist, holds no such file, or none that can be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DeconvnetError(f"no folder {folder}: name a folder with photographs")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in READABLE and f.is_file())
    if not files:
        raise DeconvnetError(f"no photographs in {folder}: JPEG, PNG, TIFF, WebP or BMP files are wanted")
    if limit is not None and limit < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
    found = Photographs()
    with step("photographs", total=len(files), unit="file", shown=progress) as line:
        for file in files:
            line.update()
            name = file.relative_to(folder).as_posix()
            try:
                image = _read(file)
            except DeconvnetError as error:  # each is named and counted
                found.skipped.append((name, str(error).removeprefix(f"{file} ")))
                continue
            if min(image.shape) < min_side:
                found.skipped.append((name, f"{image.shape[1]}×{image.shape[0]} is smaller than {min_side} pixels"))
                continue
            found.images.append(image)
            found.names.append(name)
    if found.skipped:
        listed = "; ".join(f"{name}: {reason}" for name, reason in found.skipped[:10])
        more = f"; and {len(found.skipped) - 10} more" if len(found.skipped) > 10 else ""
        warnings.warn(f"{len(found.skipped)} files skipped: {listed}{more}", stacklevel=2)
    if not found.images:
        name, reason = found.skipped[0]
        raise DeconvnetError(f"none of the {len(found.skipped)} files in {folder} can be used: {name} {reason}")
    return found


def default_photographs(*, leaves: int = 16, leaves_size: int = 384, seed: int = 0) -> Photographs:
    """Pictures that need no download: scikit-image's photographs, and dead leaves.

    Parameters
    ----------
    leaves : int
        Number of dead-leaves pictures.
    leaves_size : int
        Their side in pixels.
    seed : int
        Of the dead leaves.

    Returns
    -------
    Photographs
        Named as the files are, then ``dead_leaves_00`` and so on.

    Raises
    ------
    DeconvnetError
        If scikit-image's wheel holds none of the photographs and no leaves are wanted.
    """
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    found = Photographs()
    for name in EMBEDDED:
        if (folder / name).is_file():
            found.images.append(_read(folder / name))
            found.names.append(name)
    for index in range(leaves):
        found.images.append(dead_leaves(np.random.default_rng([seed, index]), leaves_size))
        found.names.append(f"{_GENERATED}{index:02d}")
    if not found.images:
        raise DeconvnetError("scikit-image holds no photographs here: name a folder of your own")
    return found


def split_photographs(photographs: Photographs, validation_share: float = 0.1) -> tuple[Photographs, Photographs]:
    """Part photographs into those to train on and those to validate on.

    Parameters
    ----------
    photographs : Photographs
        At least two.
    validation_share : float
        Share that is kept for validation, roughly, in (0, 1).

    Returns
    -------
    training, validation : Photographs
        At least one in each, in the order given; three to validate on where there are nine or more.

    Raises
    ------
    DeconvnetError
        If there are fewer than two photographs.

    Notes
    -----
    A hash of the file's own name (without its folder) decides, so a photograph stays in its part whatever the order
    is, and whatever other files come or go. Only if a part would be too small, the nearest hashes move into it. Dead
    leaves are all for training, as long as there is a photograph to validate on.
    """
    if len(photographs) < 2:
        raise DeconvnetError("one photograph cannot serve for training and validation: give at least two")
    digests = [hashlib.sha256(PurePosixPath(name).name.encode()).digest() for name in photographs.names]
    real = [i for i, name in enumerate(photographs.names) if not name.startswith(_GENERATED)]
    order = sorted(real or range(len(digests)), key=lambda i: (digests[i], photographs.names[i]))
    count = sum(int.from_bytes(digests[i][:8], "big") < validation_share * 2**64 for i in order)
    least = max(1, min(3, len(order) // 3))
    chosen = set(order[: min(max(count, least), len(digests) - 1)])
    indices = range(len(digests))
    training = photographs.subset([i for i in indices if i not in chosen])
    return training, photographs.subset([i for i in indices if i in chosen])
