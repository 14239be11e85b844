"""2-D convolution layer (Schuler et al. 2015, Sec. 3.1): true convolution of images with a bank of filters.

A block of image rows is unrolled into columns, one per filter position, and multiplied by the filters as one matrix.
The blocks are so low that their columns stay in the cache: memory does not grow with the filters' area.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.training.im2col import col2im, im2col
from deconvnet.layers.base import Layer, Parameter

__all__ = ["BORDERS", "Conv", "conv", "conv_backward"]

BORDERS = ("valid", "same")
CACHE_BYTES = 1 << 20  # columns of one block: what a second-level cache holds (measured best of 1/4 to 4 MiB)
GPU_BYTES = 1 << 28


def _padding(size, border):
    """Zeros ``(before, after)`` along one axis, for a filter with its centre at ``size // 2``."""
    return (0, 0) if border == "valid" else (size - 1 - size // 2, size // 2)


def _check(x, filters, border):
    if border not in BORDERS:
        raise DeconvnetError(f"unknown border {border!r}: use one of {', '.join(BORDERS)}")
    if x.shape[1] != filters.shape[1]:
        raise DeconvnetError(f"the filters want {filters.shape[1]} channels and the images have {x.shape[1]}")
    if border == "valid" and (x.shape[2] < filters.shape[2] or x.shape[3] < filters.shape[3]):
        raise DeconvnetError(
            f"images of {x.shape[2]}×{x.shape[3]} are smaller than the {filters.shape[2]}×{filters.shape[3]} "
            "filters: use larger images or border 'same'"
        )


def _pad(xp, image, pads):
    """The image with its zeros around, C-contiguous."""
    padded = xp.pad(image, ((0, 0), *pads)) if any(map(any, pads)) else image
    return xp.ascontiguousarray(padded)


def _filter_matrix(xp, filters):
    """The flipped filters as a matrix (M, C · kh · kw): convolution is correlation with these."""
    return xp.ascontiguousarray(filters[:, :, ::-1, ::-1]).reshape(filters.shape[0], -1)


def _blocks(xp, taps, height, width, itemsize):
    """``(top, rows)`` of blocks of output rows whose columns fit into the cache (on a GPU: into a share of memory)."""
    budget = CACHE_BYTES if xp is np else GPU_BYTES
    rows = min(height, max(1, budget // (taps * width * itemsize)))
    return [(top, min(rows, height - top)) for top in range(0, height, rows)]


def _geometry(x, filters, border):
    """Padding of both axes and the output's height and width."""
    pads = tuple(_padding(size, border) for size in filters.shape[2:])
    return pads, *(n + sum(pad) - k + 1 for n, k, pad in zip(x.shape[2:], filters.shape[2:], pads))


def conv(x: Array, filters: Array, bias: Array | None = None, *, border: str) -> Array:
    """``y[b, m] = Σ_c filters[m, c] * x[b, c] + bias[m]`` with ``*`` the true convolution.

    Parameters
    ----------
    x : real array (B, C, H, W)
    filters : real array (M, C, kh, kw)
        Centre at ``(kh // 2, kw // 2)``.
    bias : real array (M,), optional
    border : {"valid", "same"}
        "valid": only pixels whose whole support lies inside, output ``(H − kh + 1, W − kw + 1)``.
        "same": output ``(H, W)``, the image is taken as zero outside.

    Returns
    -------
    array (B, M, H', W')

    Raises
    ------
    DeconvnetError
        If the border is unknown, the channels disagree, or the image is smaller than the filter ("valid").

    Notes
    -----
    Backward: ``dx`` is the full correlation of ``dy`` with the filters, ``dfilters`` the correlation of ``x``
    and ``dy`` read backwards, ``dbias`` the sum of ``dy``.
    """
    xp = array_module(x, filters, bias)
    _check(x, filters, border)
    pads, height, width = _geometry(x, filters, border)
    matrix = _filter_matrix(xp, filters)
    y = xp.empty((x.shape[0], filters.shape[0], height * width), dtype=x.dtype)
    for image, out in zip(x, y):
        padded = _pad(xp, image, pads)
        for top, rows in _blocks(xp, matrix.shape[1], height, width, x.dtype.itemsize):
            part = slice(top * width, (top + rows) * width)
            xp.matmul(matrix, im2col(padded, filters.shape[2:], top, rows), out=out[:, part])
            if bias is not None:
                out[:, part] += bias[:, None]
    return y.reshape(*y.shape[:2], height, width)


def conv_backward(
    dy: Array, x: Array, filters: Array, *, border: str, dx_channels: slice | None = slice(None)
) -> tuple[Array | None, Array, Array]:
    """Gradients ``(dx, dfilters, dbias)`` of `conv`.

    Parameters
    ----------
    dy : real array (B, M, H', W')
    x, filters, border
        As in `conv`.
    dx_channels : slice or None
        Input channels whose gradient is wanted; ``dx`` has only these, and is None for None.
    """
    xp = array_module(dy, x, filters)
    pads, height, width = _geometry(x, filters, border)
    size = filters.shape[2:]
    (above, _), (left, _) = pads
    matrix = _filter_matrix(xp, filters)
    dmatrix = xp.zeros_like(matrix)
    need_dx = dx_channels is not None
    if need_dx:
        back = xp.ascontiguousarray(_filter_matrix(xp, filters[:, dx_channels]).T)  # (C' · kh · kw, M)
        dx = xp.empty_like(x[:, dx_channels])
    for b, image in enumerate(x):
        dout = dy[b].reshape(dy.shape[1], -1)  # (M, H'W')
        padded = _pad(xp, image, pads)
        if need_dx:
            dpadded = xp.zeros((dx.shape[1], *padded.shape[1:]), dtype=x.dtype)
        for top, rows in _blocks(xp, matrix.shape[1], height, width, x.dtype.itemsize):
            part = dout[:, top * width : (top + rows) * width]
            dmatrix += part @ im2col(padded, size, top, rows).T
            if need_dx:
                col2im(back @ part, size, top, dpadded)
        if need_dx:
            dx[b] = dpadded[:, above : above + x.shape[2], left : left + x.shape[3]]
    dfilters = xp.ascontiguousarray(dmatrix.reshape(filters.shape)[:, :, ::-1, ::-1])
    return (dx if need_dx else None), dfilters, dy.sum(axis=(0, 2, 3))


class Conv(Layer):
    """`conv` as a layer.

    Parameters
    ----------
    channels_in, channels_out : int
    size : int
        Side of the square filters in pixels.
    rng : numpy.random.Generator
        Filters start normal with standard deviation ``1 / sqrt(channels_in · size²)``, the bias at zero.
    border : {"valid", "same"}
    bias : bool
    dtype : numpy dtype
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        size: int,
        rng: np.random.Generator,
        *,
        border: str,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        shape = (channels_out, channels_in, size, size)
        std = (channels_in * size * size) ** -0.5
        self.filters = Parameter((std * rng.standard_normal(shape)).astype(dtype))
        self.bias: Any = Parameter(np.zeros(channels_out, dtype=dtype)) if bias else None
        self.border = border

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, Array | None]:
        bias = None if self.bias is None else self.bias.value
        return conv(x, self.filters.value, bias, border=self.border), (x if train else None)

    def backward(self, dy: Array, x: Array, *, dx_channels: slice | None = slice(None)) -> Array | None:
        dx, dfilters, dbias = conv_backward(dy, x, self.filters.value, border=self.border, dx_channels=dx_channels)
        self.filters.grad += dfilters
        if self.bias is not None:
            self.bias.grad += dbias
        return dx
