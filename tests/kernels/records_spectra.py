"""Records of the kernels on spectra of images: the quotient and its backward, relative spectra."""

from deconvnet.kernels.burst import relative_spectra
from deconvnet.kernels.photo import quotient
from tests.kernels.record import SIZES, Record, complex_normal


def _quotient(rng, real, size):
    batch, _, frequencies = size
    beta = rng.uniform(0.1, 1, (batch if batch > 1 else 1, frequencies)).astype(real)
    return [complex_normal(rng, size, real), complex_normal(rng, size, real), beta]


def _shared_beta(rng, real, size):
    x_hat, y_hat, beta = _quotient(rng, real, size)
    return [x_hat, y_hat, beta[:1]]


def _quotient_backward(need_dy):
    def arguments(rng, real, size):
        x, y, beta = _quotient(rng, real, size)
        z, d = quotient.quotient_spectrum_reference(x, y, beta)
        return [complex_normal(rng, z.shape, real), x, y, z, d, need_dy]

    return arguments


def _backward_with_keyword(*arguments):
    return quotient.quotient_spectrum_backward(*arguments[:-1], need_dy=arguments[-1])


def _windows(rng, real, size):
    batch, frames, frequencies = size
    return [complex_normal(rng, (batch, frames, 9, frequencies), real), 0.02, 1e-3, 4.0]


def _quotient_record(name, arguments, sizes):
    return Record(
        name,
        quotient.quotient_spectrum_reference,
        quotient.quotient_spectrum_numba,
        quotient.quotient_spectrum,
        arguments,
        cuda=quotient.quotient_spectrum_cuda,
        sizes=sizes,
    )


def _backward_record(name, arguments):
    return Record(
        name,
        quotient.quotient_spectrum_backward_reference,
        quotient.quotient_spectrum_backward_numba,
        _backward_with_keyword,
        arguments,
        cuda=quotient.quotient_spectrum_backward_cuda,
    )


RECORDS = [
    _quotient_record("quotient_spectrum", _quotient, (*SIZES, (65537, 1, 2))),  # more examples than a grid has blocks
    _quotient_record("quotient_spectrum, shared beta", _shared_beta, SIZES),
    _backward_record("quotient_spectrum_backward", _quotient_backward(True)),
    _backward_record("quotient_spectrum_backward, dx only", _quotient_backward(False)),
    Record(
        "relative_spectra",
        relative_spectra.relative_spectra_reference,
        relative_spectra.relative_spectra_numba,
        relative_spectra.relative_spectra,
        _windows,
        cuda=relative_spectra.relative_spectra_cuda,
    ),
]
