"""Optimisers, learning-rate schedules, and the moving average of the weights.

Optimisers own their moments and keep them on the parameters' device; `state` and `load_state` carry
them through a checkpoint bit for bit.
"""

from __future__ import annotations

import abc
import contextlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from deconvnet.backend import Array, array_module
from deconvnet.kernels.training.optimiser_steps import adam_step, momentum_step
from deconvnet.layers.base import Parameter
from deconvnet.parallel import ordered_map

__all__ = ["SGD", "Adadelta", "Adam", "MovingAverage", "Optimiser", "gradient_norm", "make_schedule"]


def gradient_norm(parameters: Mapping[str, Parameter]) -> float:
    """Euclidean norm of all gradients together, as a float."""

    def power(p: Parameter) -> float:
        flat = p.grad.reshape(-1)
        return float(flat @ flat)

    total = sum(ordered_map(power, parameters.values()))
    return math.sqrt(total) if math.isfinite(total) else math.inf


class Optimiser(abc.ABC):
    """Shared: clipping by the global norm, and moments by name."""

    moments: tuple[str, ...] = ()

    def __init__(self, parameters: Mapping[str, Parameter], *, clip: float | None = None) -> None:
        self.parameters = parameters
        self.clip = clip
        self._moments = {
            f"{name}/{moment}": array_module(p.value).zeros_like(p.value)
            for name, p in parameters.items()
            for moment in self.moments
        }

    def state(self) -> dict[str, Array]:
        """Moments by name, for a checkpoint."""
        return dict(self._moments)

    def load_state(self, arrays: Mapping[str, Array]) -> None:
        """Take over moments from a checkpoint."""
        for name, moment in self._moments.items():
            moment[...] = array_module(moment).asarray(arrays[name])

    def step(self, rate: float, count: int, norm: float, *, only: Collection[str] | None = None) -> None:
        """Update the parameters.

        Parameters
        ----------
        rate : float
            Learning rate of this step.
        count : int
            Number of this step, from 1.
        norm : float
            Global gradient norm, as of `gradient_norm`.
        only : set of str, optional
            Names of the parameters to update; the others, and their moments, stay as they are. All by default.
        """
        scale = min(1.0, self.clip / norm) if self.clip and norm > 0 else 1.0
        for name, p in self.parameters.items():
            if only is None or name in only:
                self._update(name, p, scale, rate, count)

    @abc.abstractmethod
    def _update(self, name: str, p: Parameter, scale: float, rate: float, count: int) -> None:
        """One parameter's update, with its gradient multiplied by ``scale``."""


class Adam(Optimiser):
    """Adam (Kingma & Ba 2015), with gradient clipping by the global norm."""

    moments = ("first", "second")

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        clip: float | None = None,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(parameters, clip=clip)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def _update(self, name: str, p: Parameter, scale: float, rate: float, count: int) -> None:
        adam_step(
            p.value,
            p.grad,
            self._moments[f"{name}/first"],
            self._moments[f"{name}/second"],
            scale,
            rate,
            self.beta1,
            self.beta2,
            1 - self.beta1**count,
            1 - self.beta2**count,
            self.epsilon,
        )


class SGD(Optimiser):
    """Gradient descent with momentum 0.9 (Wieschollek et al. 2016), with clipping by the global norm."""

    moments = ("velocity",)

    def __init__(
        self, parameters: Mapping[str, Parameter], *, clip: float | None = None, momentum: float = 0.9
    ) -> None:
        super().__init__(parameters, clip=clip)
        self.momentum = momentum

    def _update(self, name: str, p: Parameter, scale: float, rate: float, count: int) -> None:
        momentum_step(p.value, p.grad, self._moments[f"{name}/velocity"], scale, rate, self.momentum)


class Adadelta(Optimiser):
    """ADADELTA (Zeiler 2012), with clipping by the global norm.

    Notes
    -----
    With running means of the squared gradients, ``G ← ρG + (1 − ρ)g²``, and of the squared updates,
    ``U ← ρU + (1 − ρ)δ²``: ``δ = g · √(U + ε) / √(G + ε)``, ``value ← value − rate · δ``. Schuler et al. 2015,
    Sec. 3.3, take a rate of 0.01 and ρ = 0.95.
    """

    moments = ("gradients", "updates")

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        clip: float | None = None,
        decay: float = 0.95,
        epsilon: float = 1e-6,
    ) -> None:
        super().__init__(parameters, clip=clip)
        self.decay, self.epsilon = decay, epsilon

    def _update(self, name: str, p: Parameter, scale: float, rate: float, count: int) -> None:
        gradients, updates = self._moments[f"{name}/gradients"], self._moments[f"{name}/updates"]
        g = p.grad * p.value.dtype.type(scale)
        gradients *= self.decay
        gradients += (1 - self.decay) * g * g
        delta = g * ((updates + self.epsilon) / (gradients + self.epsilon)) ** 0.5
        updates *= self.decay
        updates += (1 - self.decay) * delta * delta
        p.value -= rate * delta


def make_schedule(name: str, rate: float, steps: int, *, warmup: int = 100) -> Callable[[int], float]:
    """Learning rate as a function of the step (from 0).

    Parameters
    ----------
    name : {"cosine", "step", "constant"}
        ``cosine`` falls to zero at the end; ``step`` is ×0.8 every 5000 steps (Wieschollek et al.
        2016). All rise linearly over the first ``warmup`` steps.
    rate : float
        Highest learning rate.
    steps : int
        Length of the training.
    """

    def schedule(step: int) -> float:
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        if name == "cosine":
            return rate * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
        if name == "step":
            return rate * rise * 0.8 ** (step // 5000)
        return rate * rise

    return schedule


class MovingAverage:
    """Exponential moving average of the weights, which validate better than the last ones.

    Parameters
    ----------
    parameters : dict of Parameter
    decay : float
        Per update; the first updates average faster, so that the start is forgotten.
    """

    def __init__(self, parameters: Mapping[str, Parameter], *, decay: float = 0.98) -> None:
        self.parameters = parameters
        self.decay = decay
        self.updates = 0
        self.average = {name: p.value.copy() for name, p in parameters.items()}

    def update(self) -> None:
        """Move the average towards the weights."""
        self.updates += 1
        keep = min(self.decay, self.updates / (self.updates + 9))
        for name, p in self.parameters.items():
            average = self.average[name]
            average *= keep
            average += (1 - keep) * p.value

    def restart(self, names: Iterable[str]) -> None:
        """Forget what the average of these parameters was: it is their value now."""
        for name in names:
            self.average[name][...] = self.parameters[name].value

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block, the parameters hold the average."""
        weights = {name: p.value for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            p.value = self.average[name]
        try:
            yield
        finally:
            for name, p in self.parameters.items():
                p.value = weights[name]
