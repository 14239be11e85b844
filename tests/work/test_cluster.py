"""Folders on a Dask cluster: the same files as without one, whatever happens to workers."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from deconvnet.cli.main import main
from deconvnet.work import cluster
from deconvnet.work.cluster import LOCAL, attempt_on_cluster
from deconvnet.work.items import BurstItem, PhotoItem
from deconvnet.work.workers import attempt_all

distributed = pytest.importorskip("distributed")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Slow(BurstItem):
    """An item that is still at work when a worker is killed."""

    @property
    def inputs(self):
        time.sleep(0.1)
        return self.frames


@dataclass(frozen=True)
class Deadly(PhotoItem):
    """An item whose process dies."""

    @property
    def inputs(self):
        os._exit(9)


def _cluster_here(**options):
    """A cluster within this process; on a busy machine its thread may not start in the ten seconds that it is given."""
    for attempt in range(3):
        try:
            return distributed.LocalCluster(dashboard_address=":0", processes=False, **options)
        except AssertionError:
            if attempt == 2:
                raise


def _burst(folder, seed, count=3):
    """Frames of one scene that moves by a pixel from one to the next."""
    folder.mkdir(parents=True)
    scene = gaussian_filter(np.random.default_rng(seed).random((78, 88)), 1.5) * 3 - 1
    for number in range(count):
        moved = np.clip(shift(scene, (number, -number), mode="mirror")[4:-4, 4:-4], 0, 1)
        Image.fromarray(np.rint(moved * 255).astype(np.uint8)).save(folder / f"{number}.png")
    return tuple(str(file) for file in sorted(folder.iterdir()))


def _items(source, out, count, kind=BurstItem):
    return [
        kind(str(out / f"{n}.png"), frames=_burst(source / str(n), n), method="mean", register="none")
        for n in range(count)
    ]


def _workers():
    """The worker processes that this process has started and that live."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie: one has just killed its worker
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def _made(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("[!.]*.png")}


@pytest.mark.slow  # starts processes
def test_workers_that_die_lose_nothing_and_do_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # workers start here, and relative names are told to them in full
    work = _items(Path("in"), Path("out"), 12, Slow)
    work.insert(3, Deadly("out/dead.png"))
    told, outcomes, killed = [], [], False
    for outcome in attempt_on_cluster(work, LOCAL, Path("out"), jobs=2, tell=told.append):
        outcomes.append(outcome)
        if outcome.status == "done" and not killed:
            _workers()[0].kill()
            killed = True
    assert len(told) == 1 and "dashboard at http://" in told[0]
    assert sorted(outcome.item.output for outcome in outcomes) == sorted(item.output for item in work)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert [outcome.why for outcome in failed] == ["its process died 2 times: out of memory?"]
    assert not _workers()
    alone = [replace(item, output=item.output.replace("out", "alone")) for item in work if isinstance(item, Slow)]
    expected = {outcome.item.output: outcome for outcome in attempt_all(alone)}
    assert _made(Path("out")) == _made(Path("alone")) and len(expected) == 12
    for outcome in outcomes:
        if outcome.result:
            other = expected[outcome.item.output.replace("out", "alone")].result
            same = ("inputs", "width", "height", "bits", "warnings")
            assert [outcome.result[name] for name in same] == [other[name] for name in same]
            assert outcome.result["output"] == outcome.item.output


@pytest.mark.slow  # starts processes
def test_whoever_wants_no_more_leaves_no_process(tmp_path):
    outcomes = attempt_on_cluster(_items(tmp_path / "in", tmp_path / "out", 6, Slow), LOCAL, tmp_path, jobs=2)
    assert next(outcomes).status == "done" and _workers()
    outcomes.close()
    assert not _workers()


@pytest.fixture
def started(tmp_path):
    """Start ``dask …`` by hand; what is started ends with the test."""
    processes = []

    def start(*arguments):
        command = [sys.executable, "-m", "dask", *map(str, arguments)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes.append(subprocess.Popen(command, cwd=ROOT, **quiet))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def _address(file, seconds=60):
    """The address that a scheduler writes into its file."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if file.exists() and file.stat().st_size:
            return json.loads(file.read_text())["address"]
        time.sleep(0.1)
    raise TimeoutError(file)


@pytest.mark.slow  # starts processes
def test_two_workers_started_by_hand_one_of_them_killed(tmp_path, started, capsys):
    source, out, alone = tmp_path / "in", tmp_path / "out", tmp_path / "alone"
    for n in range(8):
        _burst(source / str(n), n)
    (source / "broken.png").write_bytes(b"nothing of use")
    options = ["--method", "mean", "--bursts", "folders", "--json"]
    assert main(["batch", str(source), str(alone), *options]) == 1
    here = {Path(entry["output"]).relative_to(alone): entry for entry in json.loads(capsys.readouterr().out)["items"]}

    scheduler = "--host", "127.0.0.1", "--port", 0, "--dashboard-address", ":0"
    started("scheduler", *scheduler, "--scheduler-file", tmp_path / "scheduler")
    address = _address(tmp_path / "scheduler")
    workers = [started("worker", address, "--nthreads", 1, "--no-nanny", "--no-dashboard") for _ in range(2)]
    with distributed.Client(address) as client:
        client.wait_for_workers(2, timeout=60)
    command = [sys.executable, "-m", "deconvnet", "batch", source, out, *options, "--scheduler", address]
    batch = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while len(_made(out)) < 2 and batch.poll() is None:
        time.sleep(0.005)
    workers[0].send_signal(signal.SIGKILL)
    printed, said = batch.communicate(timeout=120)
    assert batch.returncode == 1
    assert said.count("\n") == 1 and f"Dask scheduler at {address}, dashboard at http://" in said
    there = {Path(entry["output"]).relative_to(out): entry for entry in json.loads(printed)["items"]}
    assert {name: entry["status"] for name, entry in there.items()} == {
        name: entry["status"] for name, entry in here.items()
    }
    assert _made(out) == _made(alone) and len(_made(out)) == 8
    # Models stay loaded, and another version or a folder that a worker does not see is refused before any work.
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "__version__", "0.0")
        assert main(["batch", str(source), str(tmp_path / "more"), *options, "--scheduler", address]) == 2
    printed = capsys.readouterr().err
    assert "install 0.0 there" in printed and printed.count("\n") == 1


@pytest.mark.slow  # waits for an answer
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers at tcp://127.0.0.1:9"),
        (["--scheduler", "nobody"], "no Dask scheduler answers at nobody"),
        (["--scheduler", "what://is/this"], "no Dask scheduler answers at what://is/this"),
        (["--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"], "--jobs is of this machine"),
    ],
)
def test_what_cannot_begin_is_refused_in_one_line(tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.setattr(cluster, "ANSWER", 1)
    _burst(tmp_path / "in" / "one", 1)
    assert main(["batch", str(tmp_path / "in"), str(tmp_path / "out"), "--method", "mean", *options]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and printed.out == ""


def test_a_scheduler_without_workers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "WORKERS", 0.2)
    items = [BurstItem(str(tmp_path / "out.png"), frames=("a.png", "b.png"))]
    with _cluster_here(n_workers=0) as empty:
        outcomes = attempt_on_cluster(items, empty.scheduler_address, tmp_path)
        with pytest.raises(cluster.DeconvnetError, match="has no workers: start some with: dask worker"):
            next(outcomes)


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(cluster.DeconvnetError, match=r"pip install 'deconvnet\[dask\]'"):
        next(attempt_on_cluster([BurstItem("out.png")], LOCAL, tmp_path))


def test_a_model_is_loaded_once_in_a_worker(tmp_path):
    from deconvnet.networks.io import build_network, save_network
    from deconvnet.work import items as plain

    model = tmp_path / "model.safetensors"
    save_network(model, build_network("compact", {"frames": 2, "w1": 4, "w2": 4, "g": 4, "layers": 1}))
    frames = _burst(tmp_path / "in", 1)
    wrong = [BurstItem(str(tmp_path / f"{n}.gif"), frames=frames, model=str(model)) for n in range(4)]
    with _cluster_here(n_workers=1, threads_per_worker=2) as own:
        plain._loaded.cache_clear()
        found = list(
            attempt_on_cluster(
                [replace(i, output=i.output[:-3] + "png") for i in wrong], own.scheduler_address, tmp_path
            )
        )
    assert len(found) == 4 and plain._loaded.cache_info().misses == 1
