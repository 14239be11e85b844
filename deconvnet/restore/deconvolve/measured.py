"""What a blurry picture says to the network of the final image: closed-form quotients, and a rough sparse picture."""

from __future__ import annotations

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.networks.image_network import Measured
from deconvnet.ops.differences import differences, differences_adjoint, differences_power
from deconvnet.restore.deconvolve.priors import CONTINUATION, DATA_WEIGHT, shrink_hyper_laplacian

__all__ = ["measure"]

#: Weights of the squared gradients in the quotients, times the noise's variance: what is expected of a photograph whose
#: gradients have the variance 1/200, and five times less.
WEAK, MIDDLE = 40.0, 200.0
#: Times that pixels that were not seen are replaced by what the picture so far predicts for them.
FILLS = 3


def measure(y: Array, otf: Array, noise: Array, seen: Array, *, sparse: Array | None = None) -> Measured:
    """Quotients of blurry pictures on a periodic grid.

    Parameters
    ----------
    y : real array (B, H, W)
        In [0, 1]; where they were not seen, any smooth continuation.
    otf : complex array (B, H, W//2 + 1)
        Transforms K of the PSFs.
    noise : real array (B,)
        Standard deviation of what the PSF leaves unexplained, above 0.
    seen : real array (B, H, W)
        1 where the picture was seen, else 0.
    sparse : real array (B, H, W), optional
        A picture deconvolved with a sparse prior that accounts for what was not seen; by default a rough one.

    Returns
    -------
    Measured

    Notes
    -----
    ``x = F⁻¹[ conj(K) Y / (|K|² + c σ² |F∇|²) ]``: the quotient layer (Schuler et al. 2015, Eq. (5)) with the
    regulariser of a photograph whose gradients are white. Pixels that were not seen are set to ``K * x`` a few times:
    expectation maximisation for missing data, so that nothing is claimed about them. The sparse one comes from the
    middling quotient by half-quadratic splitting (Krishnan & Fergus 2009), one step with each weight.
    """
    shape = y.shape[-2:]
    xp = array_module(y, otf)
    gradient_power = differences_power(xp, shape, y.dtype)
    power = otf.real**2 + otf.imag**2
    variance = (noise**2)[:, None, None]

    def regularised(strength):
        return power + y.dtype.type(strength) * variance * gradient_power

    middle = regularised(MIDDLE)
    for _ in range(FILLS if sparse is None else 1):
        # K x, of the picture so far: x = conj(K) Y / (…)
        seen_through = power * otf / middle * rfft2(y) if sparse is None else otf * rfft2(sparse)
        y = seen * y + (1 - seen) * irfft2(seen_through, shape)
    data_hat = otf.conj() * rfft2(y)
    quotient = irfft2(data_hat / middle, shape)
    quotients = xp.stack([irfft2(data_hat / regularised(WEAK), shape), quotient])
    if sparse is not None:
        return Measured(sparse, quotients, data_hat, power, noise, seen)
    sparse = quotient
    for beta in CONTINUATION:
        gradients = [shrink_hyper_laplacian(d, beta) for d in differences(sparse)]
        weight = y.dtype.type(beta / DATA_WEIGHT) * variance
        drawn_hat = rfft2(differences_adjoint(*gradients))
        sparse = irfft2((data_hat + weight * drawn_hat) / (power + weight * gradient_power), shape)
    return Measured(sparse, quotients, data_hat, power, noise, seen)
