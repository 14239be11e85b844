"""Photographs that are larger than the memory: one PSF from the window with most edges, deconvolved tile by tile."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deconvnet.backend import resolve_device, to_device, to_host
from deconvnet.colour import luminance
from deconvnet.errors import DeconvnetError, is_whole
from deconvnet.networks.io import as_network
from deconvnet.networks.protocols import PhotoNetwork
from deconvnet.restore.deconvolve.solvers import EXACT_PSF, REFINED_PSF, check_options, deconvolve, estimate_noise
from deconvnet.restore.photo.deblur import checked_photo, psf_of_photo
from deconvnet.restore.photo.psf import check_psf_options
from deconvnet.restore.photo.psf_cleanup import THRESHOLD
from deconvnet.restore.pixels import as_floats

__all__ = ["deblur_array"]

#: Pixels of its neighbours that a tile sees, in sides of the PSF: more change nothing.
OVERLAP = 2


def _even(length: int, side: int) -> tuple[int, ...]:
    """Parts of a length, at most ``side`` long, that differ by one at most."""
    count = -(-length // side)
    return tuple(length * (i + 1) // count - length * i // count for i in range(count))


def _detail(block: np.ndarray) -> np.ndarray:
    """Sum of the squared differences of a block's luminance, as an array (1, 1)."""
    grey = luminance(as_floats(block, "the picture"))
    return np.array([[sum(float((np.diff(grey, axis=axis) ** 2).sum()) for axis in (0, 1))]])


def _best_window(picture: Any, side: int) -> np.ndarray:
    """The window of about this side with most edges; one pass over the picture."""
    rows, columns = (_even(length, side) for length in picture.shape[:2])
    windows = picture.rechunk((rows, columns, *picture.shape[2:]))
    drop = {"drop_axis": 2} if picture.ndim == 3 else {}
    detail = windows.map_blocks(
        _detail, chunks=((1,) * len(rows), (1,) * len(columns)), dtype=float, meta=np.empty((0, 0)), **drop
    ).compute()
    row, column = np.unravel_index(int(detail.argmax()), detail.shape)
    return windows.blocks[row, column].compute()


def _restored(block: np.ndarray, psf: np.ndarray, method: str, noise: float, device: str) -> np.ndarray:
    pixels = to_device(np.ascontiguousarray(as_floats(block, "the picture")), device)
    return np.clip(to_host(deconvolve(pixels, to_device(psf, device), method, noise=noise)), 0, 1)


def deblur_array(
    picture: Any,
    *,
    psf: ArrayLike | None = None,
    model: str | os.PathLike[str] | PhotoNetwork = "photo",
    psf_size: int | str = "auto",
    nonblind: str = "hyper-laplacian",
    noise: float | None = None,
    tile: int = 1024,
    window: int = 1024,
    device: str = "auto",
) -> Any:
    """A sharp picture from a blurry one that needs not fit the memory, as Dask arrays; with the extra ``dask``.

    Parameters
    ----------
    picture : dask.array.Array (H, W) or (H, W, 3)
        sRGB as floats in [0, 1], uint8 or uint16.
    psf : float array (h, w), optional
        The PSF, if it is known: nothing is computed by this call then but the noise.
    model, psf_size, nonblind, noise, device
        As for `deconvnet.deblur`.
    tile : int
        Sides of the tiles of the result are at most so long: each needs about 1 GB for 8 megapixels of colour.
    window : int
        Side of the windows, the one of which with most edges gives PSF and noise. The whole picture is read once to
        find it.

    Returns
    -------
    dask.array.Array (H, W) or (H, W, 3) of float32
        In [0, 1]; computed when it is asked for, a tile at a time.

    Raises
    ------
    DeconvnetError
        If the array or an option cannot be used, or Dask is not installed.

    Notes
    -----
    Every tile is deconvolved with twice the PSF's side of its neighbours (``dask.array.map_overlap``), with the PSF and
    the noise of the window. What tiles make of the pixels that they share differs by what the sparse prior decides
    otherwise: see ``docs/scale.md``.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from deconvnet import deblur_array
    >>> from deconvnet.blur.convolve import convolve
    >>> sharp = np.full((90, 100), 0.2, np.float32)
    >>> sharp[10:70, 15:80] = 0.8
    >>> psf = np.ones((1, 5), np.float32) / 5
    >>> blurry = da.from_array(convolve(sharp, psf, border="reflect"))
    >>> picture = deblur_array(blurry, psf=psf, tile=50, device="cpu")
    >>> picture.chunks
    ((45, 45), (50, 50))
    >>> bool(abs(picture.compute() - sharp).mean() < 0.001)
    True
    """
    try:
        import dask.array as da
    except ImportError as error:
        raise DeconvnetError("deblur_array needs Dask: pip install 'deconvnet[dask]'") from error
    if not isinstance(picture, da.Array):
        raise DeconvnetError("the picture is no Dask array: dask.array.from_array makes one, or call deblur")
    if not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)) or 0 in picture.shape:
        raise DeconvnetError(f"the picture has the shape {picture.shape}: (H, W) or (H, W, 3) is wanted")
    for name, side in (("tile", tile), ("window", window)):
        if not is_whole(side, 1):
            raise DeconvnetError(f"the {name} must be a whole number of pixels, at least 1, not {side!r}")
    check_options(nonblind, noise)
    device = resolve_device(device)
    psf_error = EXACT_PSF if psf is not None else REFINED_PSF
    pixels = None if psf is not None and noise is not None else checked_photo(_best_window(picture, window))[0]
    if psf is None:
        assert pixels is not None
        network: Any = as_network(model, "photo", device)
        size = check_psf_options(network, psf_size, 0.0, THRESHOLD, True)
        options: dict[str, Any] = {"sharpen": 0.0, "threshold": THRESHOLD, "refine": True, "varying": False}
        psf = to_host(psf_of_photo(network, pixels, size, device=device, progress=False, **options).psf)
    if noise is None:
        assert pixels is not None
        noise = float(np.hypot(estimate_noise(np.ascontiguousarray(luminance(pixels))), psf_error))
    known = np.asarray(psf, np.float32)
    if known.ndim != 2 or min(picture.shape[:2]) < 2 * max(known.shape):
        raise DeconvnetError(f"the PSF has the shape {known.shape}: (h, w) is wanted, at most half of the picture")
    depth = OVERLAP * max(known.shape)
    tiles = picture.rechunk((*(_even(length, max(tile, depth)) for length in picture.shape[:2]), *picture.shape[2:]))
    return da.map_overlap(
        _restored,
        tiles,
        depth={0: depth, 1: depth},
        boundary="none",
        dtype=np.float32,
        meta=np.empty((0,) * picture.ndim, np.float32),
        psf=known,
        method=nonblind,
        noise=noise,
        device=device,
    )
