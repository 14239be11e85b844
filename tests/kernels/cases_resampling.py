"""Cases of the sums of gathered rows and columns."""

from deconvnet.kernels.photo.resampling import gather_sum
from tests.kernels.case import Case

SIZES = ((1, 1, 1, 1, 1), (3, 7, 12, 4, 9), (2, 40, 33, 6, 20))  # (images, height, width, taps, length of the result)


def _case(axis):
    def arguments(rng, real, size):
        *shape, taps, length = size
        indices = rng.integers(0, shape[axis], (taps, length))
        return [rng.standard_normal(shape).astype(real), indices, rng.standard_normal((taps, length)), axis]

    return Case(gather_sum, arguments, SIZES, f"axis {axis}")


CASES = [_case(-1), _case(-2)]
