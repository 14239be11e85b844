"""`Parameter` and `Layer`: what every layer and network is made of.

A layer is thin: it owns parameters and says which arrays its backward needs. The mathematics is in
the pure pair ``f`` / ``f_backward`` above it. The state of a *call* lives in the cache that
``forward`` returns, never on the layer, so one layer can run on many inputs before any backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module, to_device

__all__ = ["Layer", "Parameter"]

_L = TypeVar("_L", bound="Layer")


class Parameter:
    """A learned array and its accumulated gradient.

    Parameters
    ----------
    value : array
        Initial value, NumPy or CuPy, float32 or float64.
    grad : array, optional
        What gradients are added to; zeros by default.

    Attributes
    ----------
    value, grad : array
        Same shape, dtype and device. `Layer.backward` *adds* into ``grad``.
    """

    __slots__ = ("grad", "value")

    value: Array
    grad: Array

    def __init__(self, value: Array, grad: Array | None = None) -> None:
        self.value = array_module(value).asarray(value)
        self.grad = array_module(value).zeros_like(self.value) if grad is None else grad

    def __repr__(self) -> str:
        return f"Parameter(shape={self.value.shape}, dtype={self.value.dtype})"


class Layer:
    """Base of every layer and network.

    Subclasses implement `forward` and, if their inputs or parameters have a gradient, `backward`. Attributes that are
    `Parameter`, `Layer` or lists of `Layer` are found by name; fixed arrays that belong to the weights (a whitening,
    say) are named in ``buffer_names``.
    """

    buffer_names: tuple[str, ...] = ()

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Output of the layer, and what its `backward` needs.

        Parameters
        ----------
        *inputs : array
        **options
            ``train : bool``, and those of the layer.

        Returns
        -------
        output : array
        cache : object or None
            None unless training.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, *gradient_and_cache: Any, **options: Any) -> Any:
        """Gradients of the inputs; those of the parameters are *added* into `Parameter.grad`.

        Parameters
        ----------
        *gradient_and_cache : array, object
            Gradient of the output, and what `forward` returned with ``train=True``.
        **options
            Those of the layer: which gradients are wanted, for instance.

        Returns
        -------
        array, or tuple of arrays in the order of the inputs
            None in the place of a gradient that there is not, or that was not wanted.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gradient")

    def _children(self) -> Iterator[tuple[str, Parameter | Layer]]:
        for name, value in vars(self).items():
            if isinstance(value, (Parameter, Layer)):
                yield name, value
            elif isinstance(value, (list, tuple)):
                for i, item in enumerate(value):
                    if isinstance(item, (Parameter, Layer)):
                        yield f"{name}.{i}", item

    def parameters(self) -> dict[str, Parameter]:
        """Learned parameters of this layer and those inside it: ``{dotted name: Parameter}``."""
        found: dict[str, Parameter] = {}
        for name, child in self._children():
            if isinstance(child, Parameter):
                found[name] = child
            else:
                found.update({f"{name}.{inner}": p for inner, p in child.parameters().items()})
        return found

    def _buffers(self) -> Iterator[tuple[str, Layer, str]]:
        """``(dotted name, owner, attribute)`` of every fixed array saved with the weights."""
        for name in self.buffer_names:
            yield name, self, name
        for prefix, child in self._children():
            if isinstance(child, Layer):
                for name, owner, attribute in child._buffers():
                    yield f"{prefix}.{name}", owner, attribute

    def state(self) -> dict[str, Array]:
        """Every array that a file must hold to rebuild the layer: ``{dotted name: array}``."""
        arrays = {name: p.value for name, p in self.parameters().items()}
        arrays.update({name: getattr(owner, attribute) for name, owner, attribute in self._buffers()})
        return arrays

    def load_state(self, arrays: Mapping[str, Array]) -> None:
        """Take over the arrays of `state`, keeping this layer's dtype and device.

        Raises
        ------
        ValueError
            If a name is missing or too many, or a shape differs.
        """
        mine = self.state()
        if set(mine) != set(arrays):
            raise ValueError(f"the weights do not fit: names that differ are {sorted(set(mine) ^ set(arrays))[:4]}")
        for name, old in mine.items():
            if tuple(old.shape) != tuple(arrays[name].shape):
                raise ValueError(f"the weights do not fit: {name} is {arrays[name].shape}, expected {old.shape}")
        owners = {name: (owner, attribute) for name, owner, attribute in self._buffers()}
        parameters = self.parameters()
        for name, old in mine.items():
            new = array_module(old).asarray(arrays[name], dtype=old.dtype)
            if name in owners:
                setattr(*owners[name], new)
            else:
                parameters[name].value[...] = new

    def with_gradients(self: _L, gradients: Mapping[str, Array], prefix: str = "") -> _L:
        """A copy with the same values, which adds its gradients into other arrays.

        Parameters
        ----------
        gradients : dict
            ``{dotted name: array}`` for every parameter, of its shape, dtype and device.
        prefix : str
            What the names of this layer's parameters begin with there.

        Returns
        -------
        Layer
            Of this kind. Values and fixed arrays are shared, so that several copies can run at once.
        """
        twins: dict[str, Any] = {}
        for name, child in self._children():
            if isinstance(child, Parameter):
                twins[name] = Parameter(child.value, gradients[prefix + name])
            else:
                twins[name] = child.with_gradients(gradients, f"{prefix}{name}.")
        twin = object.__new__(type(self))
        for name, value in vars(self).items():
            if isinstance(value, (list, tuple)):
                value = type(value)(twins.get(f"{name}.{i}", item) for i, item in enumerate(value))
            vars(twin)[name] = twins.get(name, value)
        return twin

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for p in self.parameters().values():
            p.grad[...] = 0

    def astype(self: _L, dtype: DTypeLike) -> _L:
        """Convert parameters, gradients and buffers in place; returns the layer."""
        for p in self.parameters().values():
            p.value, p.grad = p.value.astype(dtype), p.grad.astype(dtype)
        for _, owner, attribute in self._buffers():
            setattr(owner, attribute, getattr(owner, attribute).astype(dtype))
        return self

    def to(self: _L, device: str) -> _L:
        """Move parameters, gradients and buffers to ``"cpu"`` or ``"cuda"`` in place; returns the layer."""
        for p in self.parameters().values():
            p.value, p.grad = to_device(p.value, device), to_device(p.grad, device)
        for _, owner, attribute in self._buffers():
            setattr(owner, attribute, to_device(getattr(owner, attribute), device))
        return self
