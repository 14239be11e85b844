"""The record of a kernel and its dispatch: by device, by engine, also in the threads of the pool."""

import threading

import numpy as np
import pytest

import deconvnet
from deconvnet import DeconvnetError, backend, parallel
from deconvnet.kernels import kernel as dispatch
from deconvnet.kernels.kernel import Kernel, in_chunks, light, share
from deconvnet.kernels.photo.fade import fade_pad


class _OnGpu(np.ndarray):
    """Stands for a CuPy array."""


def _reference(x, pairs=(), *, flag=False):
    """What is computed.

    Parameters
    ----------
    x : array
    """
    return "reference"


NAMED = Kernel("named", reference=_reference, cpu=lambda *a, **k: "cpu", cuda=lambda *a, **k: "cuda")
PLAIN = Kernel("plain", reference=_reference)
HERE = np.zeros(3)


@pytest.fixture
def there(monkeypatch):
    """An array that the dispatch takes for one on a GPU."""
    fake = type("cupy", (), {"ndarray": _OnGpu})
    monkeypatch.setattr(backend, "cupy", fake)
    monkeypatch.setattr(dispatch, "cupy", fake)
    return HERE.view(_OnGpu)


def test_the_device_of_the_arrays_decides(there):
    assert NAMED(HERE) == "cpu" and NAMED(there) == "cuda"
    assert NAMED(1.0, [(there, there)]) == "cuda" and NAMED(x=there) == "cuda"
    assert PLAIN(HERE) == "reference" and PLAIN(there) == "reference"
    with pytest.raises(TypeError, match="mixed"):
        NAMED(HERE, [(there,)])


def test_the_docstring_is_the_references():
    assert NAMED.__doc__ == _reference.__doc__ and NAMED.__name__ == "named"
    assert "real array (M, H, W)" in fade_pad.__doc__


def test_engines_nest_and_are_restored():
    assert NAMED(HERE) == "cpu"
    with deconvnet.engine("reference"):
        assert NAMED(HERE) == "reference"
        with deconvnet.engine("auto"):
            assert NAMED(HERE) == "cpu"
        assert NAMED(HERE) == "reference"
    with pytest.raises(ZeroDivisionError), deconvnet.engine("reference"):
        raise ZeroDivisionError
    assert NAMED(HERE) == "cpu"


def test_an_unknown_engine_is_refused():
    with (
        pytest.raises(DeconvnetError, match="unknown engine 'fast': use one of auto, reference"),
        deconvnet.engine("fast"),
    ):
        pass


def test_the_pool_sees_the_engine_and_another_thread_does_not():
    with parallel.threads(2):
        with deconvnet.engine("reference"):
            assert parallel.ordered_map(lambda _: NAMED(HERE), range(8)) == ["reference"] * 8
            seen = []
            other = threading.Thread(target=lambda: seen.append(NAMED(HERE)))
            other.start()
            other.join()
            assert seen == ["cpu"]
        assert parallel.ordered_map(lambda _: NAMED(HERE), range(8)) == ["cpu"] * 8


@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_chunks_cover_everything_once(count):
    hits = np.zeros(count, int)

    def body(found, begin, end):
        assert end - begin <= 3
        found[begin:end] += 1

    in_chunks(body, (hits,), count, 3)
    assert (hits == 1).all()


def test_sizes_of_chunks():
    assert light(1 << 20) == 1 and light(0) == light(1) and light(100) > 1000
    assert share(5) == 1 and share(320) == 10 and share(0) == 1
