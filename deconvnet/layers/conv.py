"""2-D convolution layer (Schuler et al. 2015, Sec. 3.1): true convolution of images with a bank of filters.

The input is unrolled along the filter's width only. The rows that one filter row needs are then one strided
matrix, so each filter row is a single matrix product per image and the memory grows by the filter's width,
not by its area.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import array_module
from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Layer, Parameter

__all__ = ["BORDERS", "Conv", "conv", "conv_backward"]

BORDERS = ("valid", "same")


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


def _unroll(xp, image, taps, pads, width):
    """One padded image as columns ``(C · kw, H' · W')``: row ``c · kw + v`` is channel c shifted left by v."""
    padded = xp.pad(image, ((0, 0), *pads))
    shifted = xp.stack([padded[:, :, v : v + width] for v in range(taps)], axis=1)  # (C, kw, H', W')
    return shifted.reshape(image.shape[0] * taps, -1)


def _filter_rows(xp, filters):
    """The flipped filters as one matrix per row, ``(kh, M, C · kw)``: convolution is correlation with these."""
    flipped = filters[:, :, ::-1, ::-1].transpose(2, 0, 1, 3)  # (kh, M, C, kw)
    return xp.ascontiguousarray(flipped).reshape(filters.shape[2], filters.shape[0], -1)


def _geometry(x, filters, border):
    """Padding of both axes and the output's height and width."""
    pads = tuple(_padding(size, border) for size in filters.shape[2:])
    return pads, *(n + sum(pad) - k + 1 for n, k, pad in zip(x.shape[2:], filters.shape[2:], pads))


def conv(x, filters, bias=None, *, border):
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
    rows = _filter_rows(xp, filters)
    y = xp.empty((x.shape[0], filters.shape[0], height * width), dtype=x.dtype)
    for image, out in zip(x, y):
        columns = _unroll(xp, image, filters.shape[3], pads, width)
        out[...] = 0 if bias is None else bias[:, None]
        for u, row in enumerate(rows):
            out += row @ columns[:, u * width : (u + height) * width]
    return y.reshape(*y.shape[:2], height, width)


def conv_backward(dy, x, filters, *, border, need_dx=True):
    """Gradients ``(dx, dfilters, dbias)`` of `conv`; ``dx`` is None unless needed."""
    xp = array_module(dy, x, filters)
    pads, height, width = _geometry(x, filters, border)
    taps = filters.shape[3]
    rows = _filter_rows(xp, filters)
    drows = xp.zeros_like(rows)
    (top, bottom), (left, right) = pads
    padded_shape = (x.shape[1], x.shape[2] + top + bottom, x.shape[3] + left + right)
    dx = xp.empty_like(x) if need_dx else None
    for b, image in enumerate(x):
        dout = dy[b].reshape(dy.shape[1], -1)  # (M, H'W')
        columns = _unroll(xp, image, taps, pads, width)
        dcolumns = xp.zeros_like(columns) if need_dx else None
        for u, row in enumerate(rows):
            part = slice(u * width, (u + height) * width)
            drows[u] += dout @ columns[:, part].T
            if need_dx:
                dcolumns[:, part] += row.T @ dout
        if need_dx:
            dpadded = xp.zeros(padded_shape, dtype=x.dtype)
            dshifted = dcolumns.reshape(x.shape[1], taps, -1, width)
            for v in range(taps):
                dpadded[:, :, v : v + width] += dshifted[:, v]
            dx[b] = dpadded[:, top : top + x.shape[2], left : left + x.shape[3]]
    dflipped = drows.reshape(filters.shape[2], filters.shape[0], filters.shape[1], taps).transpose(1, 2, 0, 3)
    dfilters = xp.ascontiguousarray(dflipped[:, :, ::-1, ::-1])
    return dx, dfilters, dy.sum(axis=(0, 2, 3))


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

    def __init__(self, channels_in, channels_out, size, rng, *, border, bias=True, dtype=np.float32):
        shape = (channels_out, channels_in, size, size)
        std = (channels_in * size * size) ** -0.5
        self.filters = Parameter((std * rng.standard_normal(shape)).astype(dtype))
        self.bias = Parameter(np.zeros(channels_out, dtype=dtype)) if bias else None
        self.border = border

    def forward(self, x, *, train=False):
        bias = None if self.bias is None else self.bias.value
        return conv(x, self.filters.value, bias, border=self.border), (x if train else None)

    def backward(self, dy, x, *, need_dx=True):
        dx, dfilters, dbias = conv_backward(dy, x, self.filters.value, border=self.border, need_dx=need_dx)
        self.filters.grad += dfilters
        if self.bias is not None:
            self.bias.grad += dbias
        return dx
