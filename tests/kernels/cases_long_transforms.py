"""Cases of the transforms of whole images: their strips, the middle of a quotient, latent images."""

from deconvnet.kernels.photo.feature_strips import feature_strips
from deconvnet.kernels.photo.image_quotient import image_quotient, image_spectrum
from deconvnet.kernels.photo.psf_from_features import psf_from_features
from deconvnet.kernels.photo.psf_quotient import psf_quotient
from deconvnet.kernels.photo.strip_spectra import strip_spectra
from deconvnet.kernels.simd.strips import StripGrid
from tests.kernels.case import Case
from tests.kernels.cases_features import features_case

# (batch, pairs, height, width, grid, side of the PSF): grids with every radix, images smaller and larger than 16 or 32
MIDDLES = (
    (1, 1, 1, 1, (4, 6), 1),
    (2, 2, 20, 17, (24, 20), 5),
    (1, 3, 40, 9, (45, 12), 7),
    (1, 2, 63, 65, (64, 72), 17),
    (2, 1, 100, 31, (125, 32), 31),
    (1, 1, 33, 130, (36, 135), 33),
)
# (batch, grid, height, width, side of the PSF)
LATENT = (
    (1, (4, 6), 1, 1, 1),
    (2, (24, 20), 20, 9, 5),
    (1, (45, 72), 40, 70, 17),
    (2, (54, 50), 33, 50, 25),
    (1, (128, 81), 128, 64, 33),
)
# (batch, channels, height, width, side of the filters, filters, hidden layers, feature images) and the grid
FEATURES = (
    ((1, 1, 1, 1, 1, 1, 0, 1), (6, 4)),
    ((2, 1, 40, 45, 4, 32, 1, 4), (40, 45)),  # several tiles
    ((1, 2, 100, 60, 9, 5, 2, 6), (96, 64)),  # several bands
    ((1, 2, 60, 52, 17, 32, 1, 16), (45, 40)),
)
PSFS = (
    ((2, 1, 40, 45, 4, 32, 1, 4), (40, 45), 9),
    ((1, 2, 60, 52, 17, 32, 1, 6), (46, 37), 5),  # other factors
    ((1, 1, 24, 20, 5, 40, 0, 2), (24, 20), 5),  # more filters than fit
)


def _strips(rng, real, size):
    _, _, _, _, grid, _ = size
    maps, down, across, *_ = _middle(rng, real, size)
    return [maps.reshape(-1, *maps.shape[2:]), down, across, StripGrid(grid, real)]


def _feature_strips(rng, real, size):
    case, grid = size
    arguments = features_case(rng, real, case)
    height, width = (n - arguments[1].shape[-1] + 1 for n in arguments[0].shape[-2:])
    window = tuple(rng.random(n).astype(real) for n in (height, width))
    return [*arguments, window, StripGrid(grid, real)]


def _psf(rng, real, size):
    case, grid, side = size
    *arguments, window, _ = _feature_strips(rng, real, (case, (64, 64)))
    return [*arguments, *window, grid, 0.3, side]


def _middle(rng, real, size):
    batch, pairs, height, width, grid, side = size
    maps = rng.standard_normal((batch, 2 * pairs, height, width)).astype(real)
    return [maps, rng.random(height).astype(real), rng.random(width).astype(real), grid, 0.3, side]


def _latent(rng, real, size):
    batch, grid, height, width, side = size
    psf = rng.random((batch, side, side))
    psf /= psf.sum(axis=(1, 2), keepdims=True)
    return [rng.standard_normal((batch, *grid)).astype(real), psf.astype(real), 0.05, (height, width)]


def _with_spectrum(body, arguments):
    """Every body of the quotient takes what the same body of `image_spectrum` made."""
    y, psf, beta, shape = arguments
    make = image_spectrum if body is None else getattr(image_spectrum, body) or image_spectrum.reference
    return [make(y), psf, beta, y.shape[-2:], shape]


CASES = [
    Case(strip_spectra, _strips, MIDDLES),
    Case(feature_strips, _feature_strips, FEATURES),
    Case(psf_quotient, _middle, (*MIDDLES, (1, 2, 13, 20, (14, 22), 5))),  # a grid with other factors
    Case(psf_from_features, _psf, PSFS),
    Case(image_quotient, _latent, (*LATENT, (1, (14, 22), 13, 20, 5)), before=_with_spectrum),
]
