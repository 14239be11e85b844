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
#: one machine ten million in 15 ms, and in 40 ms at once.
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

    def share(self, count: int) -> slice:
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_gradients(self, parameters: Mapping[str, Parameter]) -> None:
        from mpi4py import MPI

        for gradients in _buckets([p.grad for p in parameters.values()]):
            in_place = len(gradients) == 1 and gradients[0].flags.c_contiguous
            flat = [gradient.reshape(-1) for gradient in gradients]
            numbers = flat[0] if in_place else np.concatenate(flat)
            for begin in range(0, numbers.size, BUCKET):
                self.world.Allreduce(MPI.IN_PLACE, numbers[begin : begin + BUCKET])
            if not in_place:
                ends = np.cumsum([gradient.size for gradient in gradients])
                for gradient, total in zip(gradients, np.split(numbers, ends[:-1])):
                    gradient[...] = total.reshape(gradient.shape)

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
