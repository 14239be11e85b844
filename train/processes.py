"""The processes of one training: one, or those that mpirun has started.

Every process draws the random numbers of the whole batch from ``(seed, step)`` and makes and learns from its own share
of the examples; gradients and losses are summed. So the batch is that of one process, bit for bit, whatever their
number, and its gradient differs by the order of summation only. Weights and moments stay the same in all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Parameter

__all__ = ["AgreedError", "LocalProcesses", "Mpi", "Processes", "find_processes"]

T = TypeVar("T")
#: Variables in which the launchers of MPICH and Open MPI say how many processes there are.
LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
#: Gradients are summed in buckets of about so many numbers, which stay in a processor's cache: between two processes of
#: one machine eleven million in 16 ms, and in 34 ms at once; in shared memory in 8 ms.
BUCKET = 1 << 16


class AgreedError(DeconvnetError):
    """What every process raises at the same place: none waits for another, and the first one says it."""


class Processes(Protocol):
    """What a training asks of its processes."""

    rank: int  # of this one, from 0; the first one validates, writes and speaks
    size: int

    def share(self, count: int) -> slice:
        """Which of ``count`` examples are this process's; shares differ by one at most."""

    def sum_gradients(self, parameters: Mapping[str, Parameter]) -> None:
        """Replace every gradient by its sum over the processes."""

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums over the processes, in double precision."""

    def from_first(self, find: Callable[[], T]) -> T:
        """What ``find()`` gives in the first process, in all of them; if it raises a DeconvnetError, all do."""

    def abort(self, status: int) -> None:
        """End the others, which wait for this process, and it: they would wait for ever."""


class LocalProcesses:
    """This process alone."""

    rank, size = 0, 1

    def share(self, count: int) -> slice:
        return slice(0, count)

    def sum_gradients(self, parameters: Mapping[str, Parameter]) -> None:
        pass

    def total(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def from_first(self, find: Callable[[], T]) -> T:
        return find()

    def abort(self, status: int) -> None:
        pass


class Mpi:
    """Those of mpirun, by mpi4py.

    Parameters
    ----------
    world : mpi4py.MPI.Comm
    """

    def __init__(self, world: Any) -> None:
        self.world = world
        self.rank, self.size = world.Get_rank(), world.Get_size()
        self._shared: _SharedGradients | bool | None = None  # found out with the first gradients; False: not to be had

    def share(self, count: int) -> slice:
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_gradients(self, parameters: Mapping[str, Parameter]) -> None:
        if self._shared is None:
            self._shared = _SharedGradients.of(self.world, parameters) or False
        if isinstance(self._shared, _SharedGradients):
            self._shared.sum(parameters)
        else:
            _sum_in_buckets(self.world, [p.grad for p in parameters.values()])

    def total(self, values: Sequence[float]) -> list[float]:
        from mpi4py import MPI

        numbers = np.array(values, np.float64)
        self.world.Allreduce(MPI.IN_PLACE, numbers)
        return numbers.tolist()

    def from_first(self, find: Callable[[], T]) -> T:
        found: Any = None
        if self.rank == 0:
            try:
                found = find()
            except DeconvnetError as error:
                found = AgreedError(str(error))
        found = self.world.bcast(found)
        if isinstance(found, AgreedError):
            raise found
        return found

    def abort(self, status: int) -> None:
        self.world.Abort(status)


class _SharedGradients:
    """The gradients of all processes of one machine, in memory that each of them sees.

    Every process sums a share of the numbers over all, and takes the others' shares from them: three times they wait
    for each other, whatever the size.
    """

    def __init__(self, world: Any, parameters: Mapping[str, Parameter]) -> None:
        from mpi4py import MPI

        self.world, self.rank = world, world.Get_rank()
        self.dtype: Any = next(iter(parameters.values())).grad.dtype
        self.count = sum(p.grad.size for p in parameters.values())
        # The memory is there as long as this is.
        self.window: Any = MPI.Win.Allocate_shared(self.count * self.dtype.itemsize, self.dtype.itemsize, comm=world)
        memory: list[Any] = [self.window.Shared_query(k)[0] for k in range(world.Get_size())]
        self.numbers = [np.frombuffer(buffer, self.dtype) for buffer in memory]
        ends = np.cumsum([p.grad.size for p in parameters.values()])
        pieces = np.split(self.numbers[self.rank], ends[:-1])
        self.views = {name: piece.reshape(p.grad.shape) for (name, p), piece in zip(parameters.items(), pieces)}

    @classmethod
    def of(cls, world: Any, parameters: Mapping[str, Parameter]) -> _SharedGradients | None:
        """None if the processes are not all on one machine, or it has no room, or gradients are of several types."""
        from mpi4py import MPI

        here = world.Split_type(MPI.COMM_TYPE_SHARED)
        alone = here.Get_size() < world.Get_size()
        here.Free()
        needed = world.Get_size() * sum(p.grad.nbytes for p in parameters.values())
        fits = not alone and len({p.grad.dtype for p in parameters.values()}) == 1 and _room() > 1.1 * needed
        return cls(world, parameters) if world.allreduce(fits, MPI.LAND) else None

    def sum(self, parameters: Mapping[str, Parameter]) -> None:
        """Replace every gradient by its sum; from now on it lies in the shared memory."""
        for name, p in parameters.items():
            if p.grad is not self.views[name]:
                self.views[name][...] = p.grad
                p.grad = self.views[name]
        mine, others = self.numbers[self.rank], [n for k, n in enumerate(self.numbers) if k != self.rank]
        shares = [self.count * k // len(self.numbers) for k in range(len(self.numbers) + 1)]
        self.world.Barrier()
        for begin in range(shares[self.rank], shares[self.rank + 1], BUCKET):
            part = slice(begin, min(begin + BUCKET, shares[self.rank + 1]))
            for numbers in others:
                mine[part] += numbers[part]
        self.world.Barrier()
        for k, numbers in enumerate(self.numbers):
            if k != self.rank:
                mine[shares[k] : shares[k + 1]] = numbers[shares[k] : shares[k + 1]]
        self.world.Barrier()  # nobody changes what another one still reads


def _room() -> float:
    """Bytes of shared memory that this machine has left; containers often grant little."""
    try:
        status = os.statvfs("/dev/shm")
    except OSError:
        return float("inf")
    return status.f_bavail * status.f_frsize


def _sum_in_buckets(world: Any, arrays: list[np.ndarray]) -> None:
    """Replace arrays by their sums over the processes, small ones together."""
    from mpi4py import MPI

    for gradients in _buckets(arrays):
        in_place = len(gradients) == 1 and gradients[0].flags.c_contiguous
        flat = [gradient.reshape(-1) for gradient in gradients]
        numbers = flat[0] if in_place else np.concatenate(flat)
        for begin in range(0, numbers.size, BUCKET):
            world.Allreduce(MPI.IN_PLACE, numbers[begin : begin + BUCKET])
        if not in_place:
            ends = np.cumsum([gradient.size for gradient in gradients])
            for gradient, total in zip(gradients, np.split(numbers, ends[:-1])):
                gradient[...] = total.reshape(gradient.shape)


def _buckets(arrays: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Neighbours of one dtype together, as long as there is room; those that are larger alone."""
    buckets: list[list[np.ndarray]] = []
    room = -1
    for array in arrays:
        if array.size > room or array.dtype != buckets[-1][0].dtype:
            buckets.append([])
            room = BUCKET
        buckets[-1].append(array)
        room -= array.size
    return buckets


def find_processes() -> Processes:
    """Those of the launcher that started this process, or this one alone.

    Raises
    ------
    DeconvnetError
        If a launcher started several and mpi4py is missing, or its MPI is another one than the launcher's.
    """
    started = max((int(os.environ.get(name, 1)) for name in LAUNCHERS), default=1)
    if started == 1:
        return LocalProcesses()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # missing, or without an MPI
        raise DeconvnetError("training on several processes needs MPI: pip install 'deconvnet[mpi]'") from error
    if MPI.COMM_WORLD.Get_size() != started:
        raise DeconvnetError(
            f"mpirun started {started} processes, and mpi4py's MPI sees {MPI.COMM_WORLD.Get_size()}: "
            "use the mpirun of the MPI that mpi4py runs with"
        )
    return Mpi(MPI.COMM_WORLD)
