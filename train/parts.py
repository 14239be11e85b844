"""A batch learned in parts: each on one thread, with gradients of its own, which are then averaged.

The parts do not depend on the number of threads, and are averaged in their order: so are the new weights the same bits
for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deconvnet.backend import array_module
from deconvnet.layers.base import Layer
from deconvnet.parallel import ordered_map, run

__all__ = ["Parts"]

#: Numbers of a gradient that are averaged at a time: those of all parts stay in a processor's cache.
NUMBERS = 1 << 15


class Parts:
    """The parts of a network's batches.

    Parameters
    ----------
    network : Layer

    Examples
    --------
    >>> import numpy as np
    >>> from deconvnet.layers.dense import Dense
    >>> layer = Dense(2, 1, np.random.default_rng(0))
    >>> x = np.arange(12, dtype=np.float32).reshape(6, 2)
    >>> def learn(layer, part):
    ...     y, cache = layer.forward(x[part], train=True)
    ...     layer.backward(np.full_like(y, 1 / len(y)), cache)
    ...     return float(y.mean()), len(y)
    >>> loss, examples = Parts(layer).learn(learn, len(x), 3)
    >>> examples, layer.weight.grad.ravel()
    (6, array([5., 6.], dtype=float32))
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self._gradients: list[dict[str, Any]] = []  # of every part, {name: array}

    def learn(
        self, learn: Callable[[Any, slice], tuple[float, float]], examples: int, count: int, *, scale: float = 1.0
    ) -> tuple[float, float]:
        """Add the gradients of a batch to the network's.

        Parameters
        ----------
        learn : callable
            ``learn(network, part)`` runs a network forward and backward on these examples of the batch and returns
            their ``(loss, weight)``. The network has the weights of this one and gradients of its own.
        examples : int
            How many the batch has.
        count : int
            Into how many parts it is split, if it has as many examples. On a GPU it is always learned at once.
        scale : float
            Factor on the gradients.

        Returns
        -------
        loss, weight : float
            The weighted mean of the parts' losses, whose gradient was added times ``scale``, and the sum of the
            weights. Where that is 0 the loss is too, and nothing was added.
        """
        parameters = self.network.parameters()
        on_host = all(isinstance(p.value, np.ndarray) for p in parameters.values())
        count = min(count, examples) if on_host else 1
        while len(self._gradients) < count:
            self._gradients.append({n: array_module(p.value).empty_like(p.value) for n, p in parameters.items()})

        def part(i: int) -> tuple[float, float]:
            for gradient in self._gradients[i].values():
                gradient[...] = 0
            network: Layer = self.network.with_gradients(self._gradients[i])
            return learn(network, slice(examples * i // count, examples * (i + 1) // count))

        found = ordered_map(part, range(count)) if on_host else [part(0)]
        total = sum(weight for _, weight in found)
        if not total:
            return 0.0, 0.0
        shares = [weight / total for _, weight in found]
        for name, p in parameters.items():
            _add_mean(p.grad, [g[name] for g in self._gradients[:count]], [scale * share for share in shares])
        return sum(share * loss for share, (loss, _) in zip(shares, found)), total


def _add_mean(total: Any, gradients: list[Any], shares: list[float]) -> None:
    """Add the gradients times their shares."""
    if len(gradients) == 1:
        total += gradients[0] * total.dtype.type(shares[0])
        return
    sums, flat = total.reshape(-1), [gradient.reshape(-1) for gradient in gradients]

    def add(begin: int, end: int) -> None:
        for gradient, share in zip(flat, shares):
            sums[begin:end] += gradient[begin:end] * total.dtype.type(share)

    run(add, sums.size, NUMBERS)
