"""Training on several processes: the curve of one, to rounding."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deconvnet.blur.dead_leaves import dead_leaves
from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer
from deconvnet.errors import DeconvnetError
from deconvnet.networks.io import load_arrays
from tests.train.commands import ROOT, run, steps_done
from train.processes import LAUNCHERS, LocalProcesses, Mpi, _buckets, find_processes

PROGRAM = "train.burst"
SHORT = [
    "--network",
    "quotient",
    "--psf-size",
    "5",
    "--frames",
    "2-4",
    "--batch",
    "3",
    "--validation",
    "4",
    "--validate-every",
    "4",
    "--checkpoint-every",
    "2",
    "--device",
    "cpu",
    "--lr",
    "0.003",
]
BESIDE = shutil.which("mpirun", path=str(Path(sys.executable).parent))
MPIRUN = BESIDE or shutil.which("mpirun")
#: Sums over ranks, once of arrays that fill several buckets, and an error that all must raise.
COLLECTIVES = """
import numpy as np
from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Parameter
from train.processes import Mpi, find_processes
processes = find_processes()
# In shared memory, and in buckets where there are several types or no room for all.
for other, room in ((np.float32, None), (np.float64, None), (np.float32, 0)):
    if room is not None:
        import train.processes
        train.processes._room = lambda: room
    parameters = {}
    for i, size in enumerate((5, 300_000, 1, 70, 700)):
        parameters[str(i)] = Parameter(np.zeros(size, other if i == 2 else np.float32))
    summing = Mpi(processes.world)
    for turn in range(3):
        for i, p in enumerate(parameters.values()):
            p.grad[...] = np.arange(p.grad.size) % 97 + i * processes.rank + turn
        if turn == 2:
            parameters["3"].grad = parameters["3"].grad.copy()  # an array of its own again
        summing.sum_gradients(parameters)
        for i, p in enumerate(parameters.values()):
            assert np.array_equal(p.grad, 2 * (np.arange(p.grad.size) % 97 + turn) + i), (i, turn)
    assert bool(summing._shared) == (other == np.float32 and room is None)
assert processes.total([0.1, processes.rank]) == [0.2, 1.0]
assert processes.from_first(lambda: processes.rank) == 0
def refuse():
    raise DeconvnetError("no")
try:
    processes.from_first(refuse)
except DeconvnetError as error:
    print(processes.rank, error)
"""


def _mpirun(*command):
    return subprocess.run([MPIRUN, "-n", *map(str, command)], capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.fixture(scope="module")
def mpi():
    code = "from mpi4py import MPI; assert MPI.COMM_WORLD.Get_size() == 2"
    if MPIRUN is None or _mpirun(2, sys.executable, "-c", code).returncode:
        pytest.skip("mpirun and mpi4py of one MPI are wanted: pip install 'deconvnet[mpi]'")


def _command(ranks, images, out, options):
    source = [] if "--resume" in options else ["--images", images]
    return [ranks, sys.executable, "-m", PROGRAM, "--out", out, "--quiet", *source, *options]


def _train(ranks, images, out, *options):
    found = _mpirun(*_command(ranks, images, out, options))
    assert found.returncode == 0, found.stderr
    return found


def _curve(out):
    rows = [line.split(",") for line in (out / "metrics.csv").read_text().splitlines()]
    keep = [i for i, name in enumerate(rows[0]) if name not in ("seconds", "synthesis_share")]
    return np.array([[float(row[i]) for i in keep] for row in rows[1:]])


def _assert_alike(first, second):
    """The same but for the order of summation."""
    np.testing.assert_allclose(_curve(first), _curve(second), rtol=2e-3)
    mine, theirs = (load_arrays(out / "checkpoint.safetensors")[0] for out in (first, second))
    assert set(mine) == set(theirs)
    for name in mine:
        if name.startswith("network/"):
            np.testing.assert_allclose(mine[name], theirs[name], atol=1e-3, err_msg=name)


@pytest.mark.slow  # trains
def test_several_processes_follow_the_curve_of_one_and_go_on_with_another_number(mpi, images, tmp_path):
    one, two, changing = tmp_path / "one", tmp_path / "two", tmp_path / "changing"
    run(PROGRAM, images, one, "--steps", "12", *SHORT)
    found = _train(2, images, two, "--steps", "12", *SHORT)
    assert found.stderr.count("photographs to learn from") == 1 and found.stdout.count("model.safetensors") == 1
    _assert_alike(one, two)
    # The schedule of the learning rate depends on the steps, so a run that is to go on is stopped by a kill.
    process = subprocess.Popen(
        [MPIRUN, "-n", *map(str, _command(2, images, changing, ["--steps", "12", *SHORT]))],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 120
    while not (changing / "checkpoint.safetensors").exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    _ranks(process)[-1].kill()
    said = process.communicate(timeout=30)[1]
    assert process.returncode and not _ranks(process) and "Traceback" not in said
    assert 2 <= steps_done(changing) <= 12
    _train(4, images, changing, "--resume", "--device", "cpu")  # more processes than there are bursts in a batch
    assert steps_done(changing) == 12
    _assert_alike(one, changing)


def _ranks(process):
    """The processes of a training that mpirun has started, by rank as far as their numbers tell it."""
    psutil = pytest.importorskip("psutil")
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return sorted((child for child in children if "train.burst" in child.cmdline()), key=lambda child: child.pid)


@pytest.mark.slow  # starts processes
def test_sums_and_errors_of_all(mpi):
    found = _mpirun(2, sys.executable, "-c", COLLECTIVES)
    assert found.returncode == 0, found.stderr
    assert sorted(found.stdout.split("\n")) == ["", "0 no", "1 no"]


@pytest.mark.slow  # starts processes
@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        ("train.burst", ["--resume"], "holds no checkpoint to resume"),
        ("train.burst", ["--images", "nowhere"], "nowhere"),
        ("train.photo_any", ["--steps", "1"], "train.photo_any trains in one process"),
    ],
)
def test_what_cannot_begin_is_refused_in_one_line(mpi, tmp_path, program, options, message):
    found = _mpirun(2, sys.executable, "-m", program, "--out", tmp_path / "out", "--device", "cpu", *options)
    lines = [line for line in found.stderr.splitlines() if line.startswith(program)]
    assert found.returncode == 2 and len(lines) == 1 and message in lines[0], found.stderr
    assert "Traceback" not in found.stderr


def test_a_part_of_a_batch_is_what_the_whole_one_has_there():
    pictures = [(255 * dead_leaves(np.random.default_rng(i), 150)).astype(np.uint8) for i in range(2)]
    made = BurstSynthesizer(pictures, BurstSettings.camera(psf_size=9, crop=48))
    whole = made.batch(np.random.default_rng(1), 5, 3)
    for part in (slice(0, 2), slice(2, 5)):
        for mine, theirs in zip(made.batch(np.random.default_rng(1), 5, 3, part=part), whole):
            assert np.array_equal(mine, theirs[part])


@pytest.mark.parametrize(("count", "size"), [(32, 2), (33, 4), (3, 5)])
def test_shares_are_all_of_the_batch(count, size):
    class World:
        def __init__(self, rank):
            self.Get_rank, self.Get_size = (lambda: rank), (lambda: size)

    shares = [range(count)[Mpi(World(rank)).share(count)] for rank in range(size)]
    assert [example for share in shares for example in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert range(count)[LocalProcesses().share(count)] == range(count)


def test_buckets_hold_all_in_order_and_one_type():
    arrays = [np.zeros(size, dtype) for size, dtype in ((3, "f4"), (1 << 17, "f4"), (5, "f4"), (5, "f4"), (1, "f8"))]
    assert [[len(array) for array in bucket] for bucket in _buckets(arrays)] == [[3], [1 << 17], [5, 5], [1]]
    assert _buckets([]) == []


def test_one_process_unless_a_launcher_says_more(monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    assert isinstance(find_processes(), LocalProcesses)
    monkeypatch.setenv(LAUNCHERS[0], "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(DeconvnetError, match=r"pip install 'deconvnet\[mpi\]'"):
        find_processes()
