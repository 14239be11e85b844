"""Steps: their line appears only where it is seen, does no harm when it cannot be written, and seconds are recorded."""

import io
import sys
import time

import numba
import pytest

from deconvnet import progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class _Gone(_Terminal):
    """A terminal that is not there any more."""

    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise BrokenPipeError


def _work(shown=True):
    with progress.step("counting", 3, "sheep", shown=shown) as step:
        for _ in range(3):
            step.update()
    return 3


def test_the_line_shows_how_far_the_step_is(monkeypatch):
    monkeypatch.setattr(sys, "stderr", _Terminal())
    _work()
    assert "counting" in sys.stderr.getvalue() and "3/3" in sys.stderr.getvalue()


@pytest.mark.parametrize(("stream", "shown"), [(io.StringIO(), True), (_Terminal(), False)])
def test_no_line_where_nobody_sees_it_or_wants_it(stream, shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    _work(shown)
    assert stream.getvalue() == ""


def test_a_terminal_that_cannot_be_written_stops_nothing(monkeypatch):
    closed = _Terminal()
    closed.close()
    for stream in (_Gone(), closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        assert _work() == 3


def test_seconds_of_steps_are_added_up_by_name():
    with progress.recorded() as outer:
        with progress.recorded() as inner, progress.step("sleeping"):
            time.sleep(0.02)
        with progress.step("sleeping"):
            time.sleep(0.02)
    assert 0.02 <= inner["sleeping"] < outer["sleeping"] and outer["sleeping"] >= 0.04
    with progress.step("sleeping"):
        pass
    assert list(outer) == ["sleeping"] and not progress._records and not progress._running


def test_errors_pass_through_and_end_the_step():
    with pytest.raises(KeyError), progress.step("failing"):
        raise KeyError
    assert not progress._running


def test_the_line_says_what_is_compiled(monkeypatch):
    monkeypatch.setattr(sys, "stderr", _Terminal())

    @numba.njit
    def _never_compiled_before(x):
        return x + 1

    with progress.step("restoring", 1, shown=True), progress.step("within", shown=False):
        _never_compiled_before(1)
        shown = sys.stderr.getvalue()
    assert "compiling never_compiled_before, only this once" in shown
    assert shown.rindex("restoring") > shown.rindex("compiling")
