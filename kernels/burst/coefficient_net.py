"""The small network across the frames of a burst at each coefficient, for any number of frames, in one pass.

In plain array code its hidden units are written to memory: ten times as much as what goes in and comes out.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, light

__all__ = ["coefficient_net"]


def _reference(x: Array, weight: Array, bias: Array, last: Array, residual: bool) -> Array:
    """``Σ_h last_h · max(0, w_0h x_i + w_1h mean_j(x_j) + w_2h max_j(x_j) + b_h)``, plus x_i if residual.

    Parameters
    ----------
    x : real array (B, N, K)
        K coefficients of N frames.
    weight : real array (3, H)
    bias : real array (H,)
    last : real array (H,)
    residual : bool

    Returns
    -------
    real array (B, N, K)
    """
    xp = array_module(x)
    shared = x.mean(axis=1)[..., None] * weight[1] + x.max(axis=1)[..., None] * weight[2] + bias  # (B, K, H)
    out = xp.maximum(shared[:, None] + x[..., None] * weight[0], 0) @ last
    return x + out if residual else out


@compiled(fastmath={"contract", "nsz"})
def _coefficient_net(x, weight, bias, last, residual, out, begin, end):
    _, frames, size = x.shape
    hidden = len(bias)
    for b in range(begin, end):
        mean, largest = np.zeros(size, x.dtype), x[b, 0].copy()
        shared = np.empty((hidden, size), x.dtype)
        for n in range(frames):
            for k in range(size):
                mean[k] += x[b, n, k]
                largest[k] = max(largest[k], x[b, n, k])
        share = x.dtype.type(1 / frames)
        for h in range(hidden):
            for k in range(size):
                shared[h, k] = weight[1, h] * (mean[k] * share) + weight[2, h] * largest[k] + bias[h]
        for n in range(frames):
            row, target = x[b, n], out[b, n]
            for k in range(size):
                target[k] = row[k] if residual else 0
            for h in range(hidden):
                slope, factor = weight[0, h], last[h]
                for k in range(size):
                    before = shared[h, k] + slope * row[k]
                    target[k] += factor * (before if before > 0 else 0)


def _numba(x, weight, bias, last, residual):
    """Burst after burst, hidden units in the cache."""
    out = np.empty(x.shape, x.dtype)
    arguments = np.ascontiguousarray(x), weight, bias, np.ascontiguousarray(last), residual, out
    in_chunks(_coefficient_net, arguments, len(x), light(x[0].size * len(bias)))
    return out


def _cuda(x, weight, bias, last, residual):
    """One thread per coefficient of a burst."""
    xp = array_module(x, weight, bias, last)
    x, weight, bias, last = (xp.ascontiguousarray(a) for a in (x, weight, bias, last))
    batch, frames, size = x.shape
    hidden = len(bias)
    cuda.expect(weight=(weight, (3, hidden)), last=(last, (hidden,)))
    out = xp.empty(x.shape, dtype=x.dtype)
    arguments = [x, batch, frames, size, weight, bias, last, hidden, int(residual), out]
    grid = (cuda.blocks(size, 128), min(batch, 65535))
    cuda.launch("burst/coefficient_net", "coefficient_net", grid, 128, arguments, real=x.dtype)
    return out


coefficient_net = Kernel("coefficient_net", reference=_reference, cpu=_numba, cuda=_cuda)
