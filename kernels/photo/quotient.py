"""The element-wise heart of the quotient layer: Σ conj(X) Y / (Σ|X|² + β) and its gradients, fused.

In plain array code every term writes a burst-sized array; the numba twin reads X and Y once.
"""

from __future__ import annotations

import numpy as np

from deconvnet.backend import Array, array_module
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks, light

__all__ = ["quotient_spectrum", "quotient_spectrum_backward"]

#: Frequencies whose sums stay in the first-level cache while the pairs are read.
BLOCK = 2048


def _reference(x_hat: Array, y_hat: Array, beta: Array) -> tuple[Array, Array]:
    """``z = Σ_m conj(x_m) y_m / d`` and ``d = Σ_m |x_m|² + β``.

    Parameters
    ----------
    x_hat, y_hat : complex array (B, M, F)
        Spectra of the M pairs, flattened to F frequencies.
    beta : real array (1 or B, F)
        Positive regulariser.

    Returns
    -------
    z_hat : complex array (B, F)
    denominator : real array (B, F)
    """
    denominator = (x_hat.real**2 + x_hat.imag**2).sum(axis=1) + beta
    return (x_hat.conj() * y_hat).sum(axis=1) / denominator, denominator


def _backward_reference(
    dz_hat: Array, x_hat: Array, y_hat: Array, z_hat: Array, denominator: Array, *, need_dy: bool = True
) -> tuple[Array, Array | None, Array]:
    """Gradients of `quotient_spectrum`.

    Parameters
    ----------
    dz_hat : complex array (B, F)
    x_hat, y_hat : complex array (B, M, F)
    z_hat : complex array (B, F)
    denominator : real array (B, F)
    need_dy : bool

    Returns
    -------
    dx_hat : complex array (B, M, F)
    dy_hat : complex array (B, M, F), or None
    dbeta : real array (B, F)

    Notes
    -----
    With dQ = dz/d and dD = −Re(conj(dz) z)/d (z = Q/d):
    dx_m = conj(dQ) y_m + 2 dD x_m,  dy_m = dQ x_m,  dβ = dD.
    """
    dq = dz_hat / denominator
    dd = -(dz_hat.real * z_hat.real + dz_hat.imag * z_hat.imag) / denominator
    dx_hat = dq.conj()[:, None] * y_hat + 2 * dd[:, None] * x_hat
    return dx_hat, (dq[:, None] * x_hat if need_dy else None), dd


def _blocks(x_hat):
    """Number of blocks of all examples, and how many make a chunk."""
    batch, pairs, size = x_hat.shape
    return batch * -(-size // BLOCK), light(min(size, BLOCK) * pairs)


@compiled(fastmath={"contract"})
def _forward(x, y, beta, z, d, begin, end):
    _, pairs, frequencies = x.shape
    blocks = -(-frequencies // BLOCK)
    for n in range(begin, end):
        b, low = n // blocks, n % blocks * BLOCK
        high = min(low + BLOCK, frequencies)
        size, total, power = high - low, z[b, low:high], d[b, low:high]
        power[:] = beta[b, low:high]
        total[:] = 0
        for m in range(pairs):
            first, second = x[b, m, low:high], y[b, m, low:high]
            for f in range(size):
                xr, xi = first[f].real, first[f].imag
                yr, yi = second[f].real, second[f].imag
                power[f] += xr * xr + xi * xi
                total[f] += complex(xr * yr + xi * yi, xr * yi - xi * yr)
        for f in range(size):
            total[f] = complex(total[f].real / power[f], total[f].imag / power[f])


def _numba(x_hat, y_hat, beta):
    """Blocks of frequencies, whose sums stay in the cache."""
    batch, _, size = x_hat.shape
    z_hat = np.empty((batch, size), dtype=x_hat.dtype)
    denominator = np.empty((batch, size), dtype=x_hat.real.dtype)
    arguments = *map(np.ascontiguousarray, (x_hat, y_hat)), np.broadcast_to(beta, denominator.shape), z_hat, denominator
    in_chunks(_forward, arguments, *_blocks(x_hat))
    return z_hat, denominator


@compiled(fastmath={"contract"})
def _backward(dz, x, y, z, d, need_dy, dx, dy, dd, begin, end):
    _, pairs, frequencies = x.shape
    blocks = -(-frequencies // BLOCK)
    qr, qi = np.empty(BLOCK, d.dtype), np.empty(BLOCK, d.dtype)
    for n in range(begin, end):
        b, low = n // blocks, n % blocks * BLOCK
        high = min(low + BLOCK, frequencies)
        size, gradient, quotient = high - low, dz[b, low:high], z[b, low:high]
        power, dpower = d[b, low:high], dd[b, low:high]
        for f in range(size):
            gr, gi = gradient[f].real, gradient[f].imag
            qr[f] = gr / power[f]
            qi[f] = gi / power[f]
            dpower[f] = -(gr * quotient[f].real + gi * quotient[f].imag) / power[f]
        for m in range(pairs):
            first, second, dfirst = x[b, m, low:high], y[b, m, low:high], dx[b, m, low:high]
            for f in range(size):
                xr, xi = first[f].real, first[f].imag
                yr, yi = second[f].real, second[f].imag
                two = dpower[f] + dpower[f]
                dfirst[f] = complex(qr[f] * yr + qi[f] * yi + two * xr, qr[f] * yi - qi[f] * yr + two * xi)
            if need_dy:
                dsecond = dy[b, m, low:high]
                for f in range(size):
                    xr, xi = first[f].real, first[f].imag
                    dsecond[f] = complex(qr[f] * xr - qi[f] * xi, qr[f] * xi + qi[f] * xr)


def _backward_numba(dz_hat, x_hat, y_hat, z_hat, denominator, *, need_dy=True):
    """Blocks of frequencies, as forwards."""
    x_hat, y_hat = np.ascontiguousarray(x_hat), np.ascontiguousarray(y_hat)
    dx_hat, dbeta = np.empty_like(x_hat), np.empty_like(denominator)
    dy_hat = np.empty_like(y_hat if need_dy else y_hat[:0])
    arguments = np.ascontiguousarray(dz_hat), x_hat, y_hat, z_hat, denominator, need_dy, dx_hat, dy_hat, dbeta
    in_chunks(_backward, arguments, *_blocks(x_hat))
    return dx_hat, (dy_hat if need_dy else None), dbeta


def _grid(batch, size):
    """Blocks of 256 frequencies along x, examples along y."""
    return cuda.blocks(size, 256), min(batch, 65535)


def _cuda(x_hat, y_hat, beta):
    """One thread per frequency and example."""
    xp = array_module(x_hat, y_hat, beta)
    x_hat, y_hat, beta = (xp.ascontiguousarray(a) for a in (x_hat, y_hat, beta))
    batch, pairs, size = x_hat.shape
    cuda.expect(y_hat=(y_hat, x_hat.shape), beta=(beta, (batch if len(beta) > 1 else 1, size)))
    z_hat = xp.empty((batch, size), dtype=x_hat.dtype)
    denominator = xp.empty((batch, size), dtype=x_hat.real.dtype)
    arguments = [x_hat, y_hat, beta, batch, pairs, size, len(beta), z_hat, denominator]
    cuda.launch("photo/quotient", "quotient_spectrum", _grid(batch, size), 256, arguments, real=denominator.dtype)
    return z_hat, denominator


def _backward_cuda(dz_hat, x_hat, y_hat, z_hat, denominator, *, need_dy=True):
    """One thread per frequency and example."""
    xp = array_module(dz_hat, x_hat, y_hat, z_hat, denominator)
    batch, pairs, size = x_hat.shape
    flat = (batch, size)
    cuda.expect(dz_hat=(dz_hat, flat), y_hat=(y_hat, x_hat.shape), z_hat=(z_hat, flat), denominator=(denominator, flat))
    inputs = [xp.ascontiguousarray(a) for a in (dz_hat, x_hat, y_hat, z_hat, denominator)]
    dx_hat = xp.empty(x_hat.shape, dtype=x_hat.dtype)
    dy_hat = xp.empty(x_hat.shape, dtype=x_hat.dtype) if need_dy else None
    dbeta = xp.empty(denominator.shape, dtype=denominator.dtype)
    arguments = [*inputs, batch, pairs, size, dx_hat, dy_hat, dbeta]
    cuda.launch("photo/quotient", "quotient_spectrum_backward", _grid(batch, size), 256, arguments, real=dbeta.dtype)
    return dx_hat, dy_hat, dbeta


quotient_spectrum = Kernel("quotient_spectrum", reference=_reference, cpu=_numba, cuda=_cuda)
quotient_spectrum_backward = Kernel(
    "quotient_spectrum_backward", reference=_backward_reference, cpu=_backward_numba, cuda=_backward_cuda
)
