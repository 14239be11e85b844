"""Records of the transforms of whole images: their strips, the middle of a quotient, latent images."""

from deconvnet.kernels.photo import feature_strips, image_quotient, psf_quotient
from deconvnet.kernels.simd import strips as image_strips
from tests.kernels.record import Record
from tests.kernels.records_features import features_case

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


def _strips(rng, real, size):
    _, _, _, _, grid, _ = size
    maps, down, across, *_ = _middle(rng, real, size)
    return [maps.reshape(-1, *maps.shape[2:]), down, across, image_strips.StripGrid(grid, real)]


def _feature_strips(rng, real, size):
    case, grid = size
    x, filters, *rest = features_case(rng, real, case)
    height, width = (n - filters.shape[-1] + 1 for n in x.shape[-2:])
    window = [rng.random(n).astype(real) for n in (height, width)]
    return [x, *window, image_strips.StripGrid(grid, real), filters, *rest]


def _with_pairs(body):
    """The body with weights and biases of its recombinations one after the other, as plain arguments."""

    def run(x, down, across, grid, filters, bias, *mixes):
        pairs = list(zip(mixes[::2], mixes[1::2]))
        return body(x, filters, bias, pairs[:-1], pairs[-1], (down, across), grid)

    return run


def _middle(rng, real, size):
    batch, pairs, height, width, grid, side = size
    maps = rng.standard_normal((batch, 2 * pairs, height, width)).astype(real)
    return [maps, rng.random(height).astype(real), rng.random(width).astype(real), grid, 0.3, side]


def _latent(rng, real, size):
    batch, grid, height, width, side = size
    psf = rng.random((batch, side, side))
    psf /= psf.sum(axis=(1, 2), keepdims=True)
    return [rng.standard_normal((batch, *grid)).astype(real), psf.astype(real), 0.05, (height, width)]


def _latent_numba(y, psf, beta, shape):
    return image_quotient.image_quotient_numba(image_quotient.image_spectrum(y), psf, beta, y.shape[-2:], shape)


RECORDS = [
    Record(
        "strip_spectra",
        image_strips.strip_spectra_reference,
        image_strips.strip_spectra,
        None,
        _strips,
        sizes=MIDDLES,
    ),
    Record(
        "feature_strips",
        _with_pairs(feature_strips.feature_strips_reference),
        _with_pairs(feature_strips.feature_strips),
        None,
        _feature_strips,
        sizes=FEATURES,
    ),
    Record(
        "psf_quotient",
        psf_quotient.psf_quotient_reference,
        psf_quotient.psf_quotient_numba,
        psf_quotient.psf_quotient,
        _middle,
        sizes=MIDDLES,
    ),
    Record("image_quotient", image_quotient.image_quotient_reference, _latent_numba, None, _latent, sizes=LATENT),
]
