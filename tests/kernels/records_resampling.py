"""Records of the sums of gathered rows and columns."""

from deconvnet.kernels.photo import resampling
from tests.kernels.record import Record

SIZES = ((1, 1, 1, 1, 1), (3, 7, 12, 4, 9), (2, 40, 33, 6, 20))  # (images, height, width, taps, length of the result)


def _record(axis):
    def arguments(rng, real, size):
        *shape, taps, length = size
        indices = rng.integers(0, shape[axis], (taps, length))
        return [rng.standard_normal(shape).astype(real), indices, rng.standard_normal((taps, length)), axis]

    return Record(
        f"gather_sum, axis {axis}",
        resampling.gather_sum_reference,
        resampling.gather_sum_numba,
        resampling.gather_sum,
        arguments,
        sizes=SIZES,
    )


RECORDS = [_record(-1), _record(-2)]
