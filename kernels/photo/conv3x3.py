"""3×3 convolutions of images whose channels lie together, with a rectifier: layers of the network of the final image.

One pass over memory: bias, convolution and rectifier, no unrolled columns. On the CPU the sums of eight neighbouring
pixels and all output channels stay in registers.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks
from deconvnet.kernels.simd.conv_block import PIXELS, ROWS, conv_block, outer_block
from deconvnet.kernels.simd.vector import LANES

__all__ = ["conv3x3", "conv3x3_weights_backward"]

_many1, _many2, _many1_rectified, _many2_rectified = (conv_block[PIXELS, v, r] for r in (False, True) for v in (1, 2))
_one1, _one2, _one1_rectified, _one2_rectified = (conv_block[1, v, r] for r in (False, True) for v in (1, 2))
_outer1, _outer2, _single1, _single2 = (outer_block[r, v] for r in (ROWS, 1) for v in (1, 2))
#: Rows of output that one chunk computes.
CHUNK_ROWS = 16
#: Stripes of pixels whose sums a block of the GPU's weight gradient holds.
STRIPES = 32


def _reference(x, weight, bias, rectify):
    """``y[b, i, j] = bias + Σ_rs x[b, i + r, j + s] @ weight[r, s]``, negative values set to 0 if ``rectify``.

    Parameters
    ----------
    x : real array (B, H, W, C)
    weight : real array (3, 3, C, M)
        At most 32 output channels.
    bias : real array (M,)
    rectify : bool

    Returns
    -------
    real array (B, H − 2, W − 2, M)
        A correlation with border "valid".
    """
    xp = array_module(x, weight, bias)
    height, width = (n - 2 for n in x.shape[1:3])
    y = sum(x[:, r : r + height, s : s + width] @ weight[r, s] for r in range(3) for s in range(3)) + bias
    return xp.maximum(y, 0) if rectify else y


def _weights_reference(dy, x):
    """Gradient (3, 3, C, M) of the weights of `conv3x3` from that of its output.

    Parameters
    ----------
    dy : real array (B, H − 2, W − 2, M)
        The rectifier is not looked at.
    x : real array (B, H, W, C)

    Returns
    -------
    real array (3, 3, C, M)
        ``dweight[r, s] = Σ_bij x[b, i + r, j + s] ⊗ dy[b, i, j]``.
    """
    xp = array_module(dy, x)
    height, width = dy.shape[1:3]
    pixels = [0, 1, 2]
    return xp.stack(
        [
            xp.stack([xp.tensordot(x[:, r : r + height, s : s + width], dy, (pixels, pixels)) for s in range(3)])
            for r in range(3)
        ]
    )


@compiled
def _convolve(x, weight, bias, rectify, channels, width, vectors, out, begin, end):
    """Rows begin..end of the output, counted through all images."""
    row, count, outs = (width + 2) * channels, 3 * channels, LANES * vectors
    height = out.shape[1] // (width * outs)
    for n in range(begin, end):
        image, target, i = x[n // height], out[n // height], n % height
        j = 0
        while j < width:
            many = width - j >= PIXELS
            s, o = i * row + j * channels, (i * width + j) * outs
            if vectors == 2:
                if many and rectify:
                    _many2_rectified(image, s, row, channels, count, weight, bias, target, o)
                elif many:
                    _many2(image, s, row, channels, count, weight, bias, target, o)
                elif rectify:
                    _one2_rectified(image, s, row, channels, count, weight, bias, target, o)
                else:
                    _one2(image, s, row, channels, count, weight, bias, target, o)
            elif many and rectify:
                _many1_rectified(image, s, row, channels, count, weight, bias, target, o)
            elif many:
                _many1(image, s, row, channels, count, weight, bias, target, o)
            elif rectify:
                _one1_rectified(image, s, row, channels, count, weight, bias, target, o)
            else:
                _one1(image, s, row, channels, count, weight, bias, target, o)
            j += PIXELS if many else 1


@compiled
def _weight_sums(x, dy, channels, width, vectors, out, begin, end):
    """What blocks begin..end of `CHUNK_ROWS` rows say, each added to ``out[block] (3, 3 · channels, 16 · vectors)``."""
    row, count, outs = (width + 2) * channels, 3 * channels, LANES * vectors
    height = dy.shape[1] // (width * outs)
    blocks = (height + CHUNK_ROWS - 1) // CHUNK_ROWS
    for n in range(begin, end):
        image, slopes, top = x[n // blocks], dy[n // blocks], n % blocks * CHUNK_ROWS
        for i in range(top, min(top + CHUNK_ROWS, height)):
            for r in range(3):
                j = 0
                while j < count:
                    many = count - j >= ROWS
                    s, o = (i + r) * row + j, (r * count + j) * outs
                    if vectors == 2:
                        if many:
                            _outer2(image, s, channels, slopes, i * width * outs, width, out[n], o)
                        else:
                            _single2(image, s, channels, slopes, i * width * outs, width, out[n], o)
                    elif many:
                        _outer1(image, s, channels, slopes, i * width * outs, width, out[n], o)
                    else:
                        _single1(image, s, channels, slopes, i * width * outs, width, out[n], o)
                    j += ROWS if many else 1


def _vectors(outputs):
    """Vectors that hold so many outputs: 1 or 2."""
    if outputs > 2 * LANES:
        raise ValueError(f"at most {2 * LANES} output channels, not {outputs}")
    return 1 if outputs <= LANES else 2


def _widened(array, outputs):
    """The last axis filled up with zeros."""
    missing = outputs - array.shape[-1]
    return np.ascontiguousarray(np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]) if missing else array)


def _numba(x, weight, bias, rectify):
    """Row after row of the output."""
    batch, height, width, channels = x.shape
    outputs = weight.shape[-1]
    vectors = _vectors(outputs)
    x = np.ascontiguousarray(x).reshape(batch, -1)
    weight, bias = _widened(weight, LANES * vectors).reshape(-1), _widened(bias, LANES * vectors)
    out = np.empty((batch, (height - 2) * (width - 2) * LANES * vectors), x.dtype)
    arguments = x, weight, bias, rectify, channels, width - 2, vectors, out
    in_chunks(_convolve, arguments, batch * (height - 2), CHUNK_ROWS)
    out = out.reshape(batch, height - 2, width - 2, LANES * vectors)
    return out if outputs == LANES * vectors else np.ascontiguousarray(out[..., :outputs])


def _weights_numba(dy, x):
    """Blocks of rows, each with sums of its own that are added up in the end: their order is fixed."""
    batch, height, width, channels = x.shape
    outputs = dy.shape[-1]
    vectors = _vectors(outputs)
    x = np.ascontiguousarray(x).reshape(batch, -1)
    dy = _widened(dy, LANES * vectors).reshape(batch, -1)
    parts = np.zeros((batch * -(-(height - 2) // CHUNK_ROWS), 9 * channels * LANES * vectors), x.dtype)
    in_chunks(_weight_sums, (x, dy, channels, width - 2, vectors, parts), len(parts), 1)
    return np.ascontiguousarray(parts.sum(axis=0).reshape(3, 3, channels, -1)[..., :outputs])


def _cuda(x, weight, bias, rectify):
    """One thread per output."""
    xp = array_module(x, weight, bias)
    x, weight, bias = (xp.ascontiguousarray(a) for a in (x, weight, bias))
    batch, height, width, channels = x.shape
    outputs = weight.shape[-1]
    _vectors(outputs)
    cuda.expect(weight=(weight, (3, 3, channels, outputs)), bias=(bias, (outputs,)))
    out = xp.empty((batch, height - 2, width - 2, outputs), x.dtype)
    arguments = [x, weight, bias, batch, height - 2, width - 2, channels, outputs, int(rectify), out]
    grid = cuda.blocks(batch * (height - 2) * (width - 2), 8)
    cuda.launch("photo/conv3x3", "conv3x3", grid, (32, 8), arguments, real=x.dtype, constants={"STRIPES": STRIPES})
    return out


def _weights_cuda(dy, x):
    """One block per tap and input channel."""
    xp = array_module(dy, x)
    dy, x = xp.ascontiguousarray(dy), xp.ascontiguousarray(x)
    batch, height, width, channels = x.shape
    outputs = dy.shape[-1]
    _vectors(outputs)
    cuda.expect(dy=(dy, (batch, height - 2, width - 2, outputs)))
    out = xp.empty((3, 3, channels, outputs), x.dtype)
    arguments = [dy, x, batch, height - 2, width - 2, channels, outputs, out]
    kernel, block = "conv3x3_weights_backward", (32, STRIPES)
    cuda.launch("photo/conv3x3", kernel, 9 * channels, block, arguments, real=x.dtype, constants={"STRIPES": STRIPES})
    return out


conv3x3 = Kernel("conv3x3", reference=_reference, cpu=_numba, cuda=_cuda)
conv3x3_weights_backward = Kernel(
    "conv3x3_weights_backward", reference=_weights_reference, cpu=_weights_numba, cuda=_weights_cuda
)
