"""Many work items as futures on a Dask cluster: of this machine's processes, or of any machines that see the files.

The items and what is done with them are those of `deconvnet.work.workers`; Dask places them, and tries again what ran
on a worker that died.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
import threading
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deconvnet import parallel
from deconvnet._version import __version__
from deconvnet.errors import DeconvnetError
from deconvnet.work.items import Item
from deconvnet.work.workers import Outcome, attempt

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["LOCAL", "attempt_on_cluster"]

#: Instead of an address: a cluster on this machine, for this call.
LOCAL = "local"
#: Seconds until a scheduler must have answered, and until it must have a worker.
ANSWER, WORKERS = 10, 30
#: Items that are with the scheduler for every thread of the workers: the next one is there when one ends, and a folder
#: of a million does not fill the scheduler's memory.
AHEAD = 2
#: How a cluster of our own treats workers' deaths: the second one with the same item is that item's fault, so none may
#: wait at a worker behind another.
SETTINGS = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-saturation": 1.0,
    "logging.distributed": "critical",
    "distributed.worker.profile.enabled": False,
    # What a scheduler of thousands of workers looks after many times a second takes from two cores what they need.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.diagnostics.nvml": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.work-stealing": False,
    # Without Dask's MALLOC_TRIM_THRESHOLD_, by which every large array is new memory from the system.
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1, "MKL_NUM_THREADS": 1},
}

_one_at_a_time = threading.Lock()  # in a worker: an item's warnings are collected from all threads


def _work(item: Item, threads: int | None) -> Outcome:
    """In a worker: what `attempt` says."""
    with _one_at_a_time, parallel.threads(threads):
        return attempt(item)


def _look(folder: str) -> tuple[str, bool]:
    """In a worker: its version of this package, and whether it sees a folder."""
    return __version__, Path(folder).is_dir()


def _absolute(item: Item) -> Item:
    """The same item for a process that works in another folder."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if field.name in ("output", "photo", "psf", "psf_out", "before_out") and value:
            changes[field.name] = str(Path(value).absolute())
        elif field.name == "frames":
            changes[field.name] = tuple(str(Path(name).absolute()) for name in value)
        elif field.name == "model" and Path(value).is_file():
            changes[field.name] = str(Path(value).absolute())
    return dataclasses.replace(item, **changes)


@contextlib.contextmanager
def _local(jobs: int) -> Iterator[Client]:
    """A cluster of as many processes, which ends with the block."""
    import dask
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None  # workers inherit it: Ctrl-C is ours
        try:
            cluster = LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )
        finally:
            if main:
                signal.signal(signal.SIGINT, before)
        stack.enter_context(cluster)
        yield stack.enter_context(Client(cluster, set_as_default=False))


@contextlib.contextmanager
def _remote(address: str, folder: Path) -> Iterator[Client]:
    """The cluster at an address, once it has a worker, and all that it has by then see ``folder``."""
    from distributed import Client

    start = f"start some with: dask worker {address} --nthreads 1 --nworkers N"
    try:
        client = Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DeconvnetError(
            f"no Dask scheduler answers at {address}: start one with dask scheduler, and name the address that it "
            "says (tcp://host:8786)"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS)
        except TimeoutError as error:
            raise DeconvnetError(f"the Dask scheduler at {address} has no workers: {start}") from error
        try:
            found = client.run(_look, str(folder.absolute()))
        except Exception as error:  # whatever a worker without this package, or with an old one, makes of it
            raise DeconvnetError(
                f"workers of {address} cannot work: is deconvnet installed there? ({error})"
            ) from error
        for worker, (version, seen) in found.items():
            if version != __version__:
                raise DeconvnetError(f"the worker {worker} has deconvnet {version}: install {__version__} there")
            if not seen:
                raise DeconvnetError(
                    f"the worker {worker} sees no folder {folder.absolute()}: share it, under the same path"
                )
        yield client


def attempt_on_cluster(
    items: Sequence[Item],
    scheduler: str,
    folder: Path,
    *,
    jobs: int = 1,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Generator[Outcome, None, None]:
    """Run items on a Dask cluster and yield their outcomes as they come.

    Parameters
    ----------
    items : sequence of Item
    scheduler : str
        Its address, as ``tcp://host:8786``; or ``"local"``: workers of this machine, for this call.
    folder : Path
        Of the results: workers at an address must see it under the same path, and what is read too.
    jobs : int
        Workers of ``"local"``, one process each.
    threads : int, optional
        Of each worker; by default its share of this process's for ``"local"``, and what a worker's environment says at
        an address (``OMP_NUM_THREADS``, which Dask sets to 1).
    tell : callable
        Gets one line that says where the scheduler is and where its dashboard.

    Yields
    ------
    Outcome
        One for every item.

    Raises
    ------
    DeconvnetError
        Before any work: Dask is not installed, nobody answers at the address or there is no worker, a worker does not
        see the folder or has another version of this package.

    Notes
    -----
    Dask runs an item again whose worker died; one whose workers died more often than the scheduler's setting
    ``allowed-failures`` says (once for ``"local"``) has failed. Files are replaced in one step, so an item that is run
    again leaves one result. A process runs one item at a time; a worker of several threads gains nothing.
    """
    if not items:
        return
    try:
        from distributed import as_completed
    except ImportError as error:
        raise DeconvnetError("--scheduler needs Dask: pip install 'deconvnet[dask]'") from error
    for name in ("distributed", "distributed.client"):  # which has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what is lost is said by outcomes
    if scheduler == LOCAL:
        threads = threads or max(1, parallel.thread_count() // jobs)
    with _local(jobs) if scheduler == LOCAL else _remote(scheduler, folder) as client:
        at = client.scheduler_info()["address"]
        tell(f"Dask scheduler at {at}, dashboard at {client.dashboard_link}")
        name, waiting = f"deconvnet-{uuid.uuid4().hex}", enumerate(items)
        under_way: dict[Any, tuple[Future, Item]] = {}
        finished = as_completed(loop=client.loop)

        def submit_more() -> None:
            most = AHEAD * max(1, sum(client.nthreads().values()))
            while len(under_way) < most and (following := next(waiting, None)):
                number, item = following
                future = client.submit(_work, _absolute(item), threads, key=f"{name}-{number}", pure=False)
                under_way[future.key] = future, item
                finished.add(future)

        try:
            submit_more()
            for future in finished:
                _, item = under_way.pop(future.key)
                submit_more()
                yield _outcome(future, item)
        finally:  # Ctrl-C, or whoever takes the outcomes does not want more
            client.cancel([future for future, _ in under_way.values()])


def _outcome(future: Future, item: Item) -> Outcome:
    """What became of an item, as it would be said without a cluster."""
    from distributed import CancelledError, KilledWorker

    try:
        outcome: Outcome = future.result()  # if it lay on a worker that has died meanwhile, the item is run again
    except KilledWorker as error:
        return Outcome(item, "failed", f"its process died {error.allowed_failures + 1} times: out of memory?")
    except CancelledError:
        return Outcome(item, "failed", "the scheduler lost it: was it stopped? The same command goes on with the rest")
    except Exception as error:  # a worker that cannot take the item: the others may
        return Outcome(item, "failed", f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}")
    result = outcome.result and {**outcome.result, "output": item.output, "inputs": list(item.inputs)}
    return dataclasses.replace(outcome, item=item, result=result)
