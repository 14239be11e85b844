"""The element-wise heart of the quotient layer: Σ conj(X) Y / (Σ|X|² + β) and its gradients, fused.

In plain array code every term writes a burst-sized array; the numba twin reads X and Y once.
"""

from __future__ import annotations

import numba
import numpy as np

from deconvnet.backend import array_module
from deconvnet.kernels import cuda

__all__ = [
    "quotient_spectrum",
    "quotient_spectrum_backward",
    "quotient_spectrum_backward_cuda",
    "quotient_spectrum_backward_numba",
    "quotient_spectrum_backward_reference",
    "quotient_spectrum_cuda",
    "quotient_spectrum_numba",
    "quotient_spectrum_reference",
]


def quotient_spectrum_reference(x_hat, y_hat, beta):
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


def quotient_spectrum_backward_reference(dz_hat, x_hat, y_hat, z_hat, denominator, need_dy):
    """Gradients ``(dx_hat, dy_hat or None, dbeta (B, F))`` of `quotient_spectrum_reference`.

    Notes
    -----
    With dQ = dz/d and dD = −Re(conj(dz) z)/d (z = Q/d):
    dx_m = conj(dQ) y_m + 2 dD x_m,  dy_m = dQ x_m,  dβ = dD.
    """
    dq = dz_hat / denominator
    dd = -(dz_hat.real * z_hat.real + dz_hat.imag * z_hat.imag) / denominator
    dx_hat = dq.conj()[:, None] * y_hat + 2 * dd[:, None] * x_hat
    return dx_hat, (dq[:, None] * x_hat if need_dy else None), dd


@numba.njit(parallel=True, cache=True, fastmath={"contract"})
def _forward(x, y, beta, z, d):
    batch, pairs, size = x.shape
    for b in numba.prange(batch):
        for f in range(size):
            d[b, f] = beta[b, f]
            z[b, f] = 0
        for m in range(pairs):
            for f in range(size):
                xr, xi = x[b, m, f].real, x[b, m, f].imag
                yr, yi = y[b, m, f].real, y[b, m, f].imag
                d[b, f] += xr * xr + xi * xi
                z[b, f] += complex(xr * yr + xi * yi, xr * yi - xi * yr)
        for f in range(size):
            z[b, f] = complex(z[b, f].real / d[b, f], z[b, f].imag / d[b, f])


def quotient_spectrum_numba(x_hat, y_hat, beta):
    """CPU twin of `quotient_spectrum_reference`; parallel over the batch."""
    batch, _, size = x_hat.shape
    z_hat = np.empty((batch, size), dtype=x_hat.dtype)
    denominator = np.empty((batch, size), dtype=x_hat.real.dtype)
    _forward(x_hat, y_hat, np.broadcast_to(beta, denominator.shape), z_hat, denominator)
    return z_hat, denominator


@numba.njit(parallel=True, cache=True, fastmath={"contract"})
def _backward(dz, x, y, z, d, need_dy, dx, dy, dd):
    batch, pairs, size = x.shape
    for b in numba.prange(batch):
        qr, qi = np.empty_like(d[b]), np.empty_like(d[b])
        for f in range(size):
            gr, gi = dz[b, f].real, dz[b, f].imag
            qr[f] = gr / d[b, f]
            qi[f] = gi / d[b, f]
            dd[b, f] = -(gr * z[b, f].real + gi * z[b, f].imag) / d[b, f]
        for m in range(pairs):
            for f in range(size):
                xr, xi = x[b, m, f].real, x[b, m, f].imag
                yr, yi = y[b, m, f].real, y[b, m, f].imag
                two = dd[b, f] + dd[b, f]
                dx[b, m, f] = complex(qr[f] * yr + qi[f] * yi + two * xr, qr[f] * yi - qi[f] * yr + two * xi)
            if need_dy:
                for f in range(size):
                    xr, xi = x[b, m, f].real, x[b, m, f].imag
                    dy[b, m, f] = complex(qr[f] * xr - qi[f] * xi, qr[f] * xi + qi[f] * xr)


def quotient_spectrum_backward_numba(dz_hat, x_hat, y_hat, z_hat, denominator, need_dy):
    """CPU twin of `quotient_spectrum_backward_reference`; parallel over the batch."""
    dx_hat, dbeta = np.empty_like(x_hat), np.empty_like(denominator)
    dy_hat = np.empty_like(y_hat if need_dy else y_hat[:0])
    _backward(np.ascontiguousarray(dz_hat), x_hat, y_hat, z_hat, denominator, need_dy, dx_hat, dy_hat, dbeta)
    return dx_hat, (dy_hat if need_dy else None), dbeta


def _grid(batch, size):
    """Blocks of 256 frequencies along x, examples along y."""
    return cuda.blocks(size, 256), min(batch, 65535)


def quotient_spectrum_cuda(x_hat, y_hat, beta):
    """GPU twin of `quotient_spectrum_reference`: one thread per frequency and example."""
    xp = array_module(x_hat, y_hat, beta)
    x_hat, y_hat, beta = (xp.ascontiguousarray(a) for a in (x_hat, y_hat, beta))
    batch, pairs, size = x_hat.shape
    cuda.expect(y_hat=(y_hat, x_hat.shape), beta=(beta, (batch if len(beta) > 1 else 1, size)))
    z_hat = xp.empty((batch, size), dtype=x_hat.dtype)
    denominator = xp.empty((batch, size), dtype=x_hat.real.dtype)
    arguments = [x_hat, y_hat, beta, batch, pairs, size, len(beta), z_hat, denominator]
    cuda.launch("photo/quotient", "quotient_spectrum", _grid(batch, size), 256, arguments, real=denominator.dtype)
    return z_hat, denominator


def quotient_spectrum_backward_cuda(dz_hat, x_hat, y_hat, z_hat, denominator, need_dy):
    """GPU twin of `quotient_spectrum_backward_reference`: one thread per frequency and example."""
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


def quotient_spectrum(x_hat, y_hat, beta):
    """Production form for the arrays' device; see `quotient_spectrum_reference`."""
    if array_module(x_hat, y_hat, beta) is np:
        return quotient_spectrum_numba(
            np.ascontiguousarray(x_hat), np.ascontiguousarray(y_hat), np.ascontiguousarray(beta)
        )
    return quotient_spectrum_cuda(x_hat, y_hat, beta)


def quotient_spectrum_backward(dz_hat, x_hat, y_hat, z_hat, denominator, *, need_dy=True):
    """Production form for the arrays' device; see `quotient_spectrum_backward_reference`."""
    if array_module(dz_hat, x_hat, y_hat) is np:
        return quotient_spectrum_backward_numba(
            dz_hat, np.ascontiguousarray(x_hat), np.ascontiguousarray(y_hat), z_hat, denominator, need_dy
        )
    return quotient_spectrum_backward_cuda(dz_hat, x_hat, y_hat, z_hat, denominator, need_dy)
