"""Cases of the kernels on spectra of images: the quotient and its backward, relative spectra."""

from deconvnet.kernels.burst.relative_spectra import relative_spectra
from deconvnet.kernels.photo.quotient import quotient_spectrum, quotient_spectrum_backward
from tests.kernels.case import SIZES, Case, complex_normal


def _quotient(rng, real, size):
    batch, _, frequencies = size
    beta = rng.uniform(0.1, 1, (batch if batch > 1 else 1, frequencies)).astype(real)
    return [complex_normal(rng, size, real), complex_normal(rng, size, real), beta]


def _shared_beta(rng, real, size):
    x_hat, y_hat, beta = _quotient(rng, real, size)
    return [x_hat, y_hat, beta[:1]]


def _quotient_backward(rng, real, size):
    x, y, beta = _quotient(rng, real, size)
    z, d = quotient_spectrum.reference(x, y, beta)
    return [complex_normal(rng, z.shape, real), x, y, z, d]


def _windows(rng, real, size):
    batch, frames, frequencies = size
    return [complex_normal(rng, (batch, frames, 9, frequencies), real), 0.02, 1e-3, 4.0]


CASES = [
    Case(quotient_spectrum, _quotient, (*SIZES, (65537, 1, 2))),  # more examples than a grid has blocks
    Case(quotient_spectrum, _shared_beta, variant="shared beta"),
    Case(quotient_spectrum_backward, _quotient_backward),
    Case(quotient_spectrum_backward, _quotient_backward, variant="dx only", options={"need_dy": False}),
    Case(relative_spectra, _windows),
]
