"""Layers with hand-written gradients inside PyTorch networks: ``from deconvnet.interop.torch import Quotient``.

`Module` takes any `deconvnet.layers.Layer`, `function` any pure pair; the classes below are `Module` with the layers
that are asked for most. Tensors and arrays share their memory, on the CPU as NumPy arrays, on a GPU as CuPy's.
Gradients are the pair's own, so there is none of the second order.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deconvnet import layers
from deconvnet.backend import Array, array_module, cupy, resolve_device
from deconvnet.errors import DeconvnetError
from deconvnet.layers import Layer, Parameter

try:
    import torch
    from torch.autograd.function import once_differentiable
except ImportError as error:
    raise DeconvnetError("deconvnet.interop.torch needs PyTorch: pip install 'deconvnet[torch]'") from error

__all__ = [
    "BurstDense",
    "CoefficientNet",
    "Conv",
    "Conv3x3",
    "Dense",
    "EdgeTaper",
    "Features",
    "ImageEstimation",
    "LearnableFBA",
    "Module",
    "PsfConsistency",
    "PsfSoftmax",
    "PsfSupport",
    "Quotient",
    "Recombine",
    "Relu",
    "SpectralFilter",
    "Tanh",
    "WhitenedBands",
    "function",
]

TYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)


def _as_array(given: Any) -> Any:
    """A tensor's memory as an array (a copy where it is not contiguous); anything else as it is."""
    if not isinstance(given, torch.Tensor):
        return given
    if given.dtype not in TYPES:
        raise DeconvnetError(f"a tensor is {given.dtype}: convert it first, by .float() or .double()")
    if given.device.type not in ("cpu", "cuda"):
        raise DeconvnetError(f"a tensor is on the device {given.device}: move it first, by .cpu() or .cuda()")
    plain = given.detach().resolve_conj().resolve_neg().contiguous()
    if plain.is_cuda:
        resolve_device("cuda")  # says so where CuPy is missing
        return cupy.from_dlpack(plain)
    return plain.numpy()


def _as_tensor(array: Array) -> torch.Tensor:
    """An array's memory as a tensor; a copy where its strides do not suit PyTorch or it is read-only."""
    if array_module(array) is np:
        return torch.from_numpy(np.require(array, requirements=["C", "W"]))
    return torch.from_dlpack(array_module(array).ascontiguousarray(array))


def _stream_of(tensors: Any) -> contextlib.AbstractContextManager:
    """Within the block, CuPy works where PyTorch does: on the device of the tensors, in its current stream."""
    blocks = contextlib.ExitStack()
    for tensor in tensors:
        if isinstance(tensor, torch.Tensor) and tensor.is_cuda and cupy is not None:
            blocks.enter_context(cupy.cuda.Device(tensor.device.index))
            blocks.enter_context(cupy.cuda.ExternalStream(torch.cuda.current_stream(tensor.device).cuda_stream))
            break
    return blocks


def _bound(layer: Layer, arrays: Mapping[str, Array]) -> Layer:
    """A copy of the layer that has these arrays of its `Layer.state`, and gradients of its own: nothing is shared.

    State of a call stays in the call, so one module can run in several threads.
    """
    twins: dict[int, Any] = {}  # what two layers share, their copies share too

    def twin(item: Any, name: str) -> Any:
        if isinstance(item, Parameter):
            return twins.setdefault(id(item), Parameter(arrays[name]))
        if isinstance(item, (list, tuple)):
            return type(item)([twin(inner, f"{name}.{i}") for i, inner in enumerate(item)])
        if not isinstance(item, Layer):
            return item
        if id(item) not in twins:
            twins[id(item)] = made = copy.copy(item)
            prefix = f"{name}." if name else ""
            for key, value in vars(item).items():
                if isinstance(value, (Parameter, Layer)) or _holds_children(value):
                    setattr(made, key, twin(value, prefix + key))
            for key in item.buffer_names:
                setattr(made, key, arrays[prefix + key])
        return twins[id(item)]

    return twin(layer, "")


def _holds_children(value: Any) -> bool:
    return type(value) in (list, tuple) and any(isinstance(item, (Parameter, Layer)) for item in value)


def _spared(layer: Any, needed: list[bool]) -> dict[str, Any]:
    """Options that tell a backward which inputs' gradients nobody wants: ``need_dx``, ``dx_channels``."""
    known = inspect.signature(layer.backward).parameters
    options: dict[str, Any] = {}
    for name, need in zip(inspect.signature(layer.forward).parameters, needed):
        if f"need_d{name}" in known:
            options[f"need_d{name}"] = need
        if f"d{name}_channels" in known and not need:
            options[f"d{name}_channels"] = None
    return options


def _checked(output: Any) -> torch.Tensor:
    if isinstance(output, (tuple, list)):
        raise DeconvnetError("it gives several arrays: only what gives one can be used in PyTorch")
    return _as_tensor(output)


class _Call(torch.autograd.Function):
    """One call of a layer: ``bind`` makes it from its arrays, which follow the inputs."""

    @staticmethod
    def forward(ctx: Any, bind: Callable[..., Any], count: int, options: dict[str, Any], *given: Any) -> torch.Tensor:
        with _stream_of(given):
            arrays = [_as_array(item) for item in given]
            output, ctx.cache = bind(*arrays[count:]).forward(*arrays[:count], train=True, **options)
            result = _checked(output)
        ctx.bind, ctx.count, ctx.total = bind, count, len(given)
        ctx.places = [i for i, item in enumerate(given) if isinstance(item, torch.Tensor)]
        # The cache shares memory with these: PyTorch refuses the backward if one has been changed in place since.
        ctx.save_for_backward(*(given[i] for i in ctx.places), result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, doutput: torch.Tensor) -> tuple[Any, ...]:
        saved = dict(zip(ctx.places, ctx.saved_tensors))
        needed = list(ctx.needs_input_grad[3:])
        with _stream_of([doutput]):
            layer = ctx.bind(*(_as_array(saved[i]) for i in range(ctx.count, ctx.total)))
            dout = _as_array(doutput)
            found = layer.backward(dout, ctx.cache, **_spared(layer, needed[: ctx.count]))
            gradients = list(found) if isinstance(found, (tuple, list)) else [found]
            gradients += [p.grad for p in layer.parameters().values()]
            gradients += [None] * (ctx.total - len(gradients))  # fixed arrays
            tensors = [None if g is None or not n else _own(g, dout) for g, n in zip(gradients, needed)]
        return (None, None, None, *tensors)


def _own(gradient: Array, dout: Array) -> torch.Tensor:
    """The gradient as a tensor that PyTorch may add to: not the memory of the output's gradient."""
    xp = array_module(gradient)
    return _as_tensor(gradient.copy() if xp.may_share_memory(gradient, dout) else gradient)


def _call(bind: Callable[..., Any], inputs: tuple, arrays: list[torch.Tensor], options: dict[str, Any]) -> torch.Tensor:
    given = (*inputs, *arrays)
    if torch.is_grad_enabled() and any(isinstance(item, torch.Tensor) and item.requires_grad for item in given):
        return _Call.apply(bind, len(inputs), options, *given)
    with _stream_of(given):
        layer = bind(*(_as_array(array) for array in arrays))
        return _checked(layer.forward(*(_as_array(item) for item in inputs), train=False, **options)[0])


class Module(torch.nn.Module):
    """A layer, or a network whose output is one array, as a PyTorch module.

    Parameters
    ----------
    layer : deconvnet.layers.Layer
        Its parameters, and its fixed arrays as buffers, are PyTorch's under the names of `Layer.state`. They share its
        memory until they are moved or converted.

    Raises
    ------
    DeconvnetError
        When it is called, if a tensor is not of 32 or 64 bits, or is on no CPU and no CUDA device, or if the layer
        gives more than one array.

    Notes
    -----
    Called with tensors, and the options of the layer's ``forward``. Without gradients it runs the layer's form for
    inference. What goes in and comes out must not be changed in place before the backward: PyTorch raises.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._layer = layer
        parameters = layer.parameters()
        self._names = [*parameters, *(name for name in layer.state() if name not in parameters)]
        shared: dict[int, torch.nn.Parameter] = {}
        for name, array in layer.state().items():
            *rooms, last = name.split(".")
            owner: torch.nn.Module = self
            for room in rooms:
                if room not in owner._modules:
                    owner.add_module(room, torch.nn.Module())
                owner = owner.get_submodule(room)
            if name in parameters:
                parameter = torch.nn.Parameter(_as_tensor(array))
                owner.register_parameter(last, shared.setdefault(id(parameters[name]), parameter))
            else:
                owner.register_buffer(last, _as_tensor(array))
        self._parameter_names = frozenset(parameters)

    def _tensors(self) -> list[torch.Tensor]:
        return [
            self.get_parameter(name) if name in self._parameter_names else self.get_buffer(name) for name in self._names
        ]

    def _bind(self, *arrays: Array) -> Layer:
        return _bound(self._layer, dict(zip(self._names, arrays)))

    def as_layer(self) -> Layer:
        """The layer with the weights as they are now, whose memory it shares: to restore with, or to save."""
        return self._bind(*(_as_array(tensor) for tensor in self._tensors()))

    def forward(self, *inputs: Any, **options: Any) -> torch.Tensor:
        """Output of the layer; tensors are differentiated, anything else is passed on."""
        return _call(self._bind, inputs, self._tensors(), options)

    def extra_repr(self) -> str:
        return type(self._layer).__name__


class _Pair:
    """A pure pair in the place of a layer; it has no parameters."""

    def __init__(self, forward: Callable[..., tuple[Array, Any]], backward: Callable[..., Any]) -> None:
        self.pair, self.backward = forward, backward

    def forward(self, *inputs: Any, train: bool, **options: Any) -> tuple[Array, Any]:
        return self.pair(*inputs, **options)

    def parameters(self) -> dict[str, Parameter]:
        return {}


def function(forward: Callable[..., tuple[Array, Any]], backward: Callable[..., Any]) -> Callable[..., torch.Tensor]:
    """A pure pair as a function of tensors that PyTorch differentiates.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs, **options) -> (output, cache)``, as `deconvnet.layers.quotient.quotient`.
    backward : callable
        ``backward(doutput, cache) -> gradients of the inputs``, one or a tuple in their order.

    Returns
    -------
    callable
        Of tensors; other inputs, and options by name, are passed on.
    """
    pair = _Pair(forward, backward)

    def differentiable(*inputs: Any, **options: Any) -> torch.Tensor:
        return _call(lambda: pair, inputs, [], options)

    return differentiable


class _Named(Module):
    """A layer made from its own arguments; without ``rng`` it starts from PyTorch's seed."""

    layer_class: type[Layer]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        signature = inspect.signature(self.layer_class)
        if "rng" in signature.parameters and "rng" not in signature.bind_partial(*arguments, **options).arguments:
            options["rng"] = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
        super().__init__(self.layer_class(*arguments, **options))


class BurstDense(_Named):
    """`deconvnet.layers.BurstDense` in PyTorch, with the same arguments."""

    layer_class = layers.BurstDense


class CoefficientNet(_Named):
    """`deconvnet.layers.CoefficientNet` in PyTorch, with the same arguments."""

    layer_class = layers.CoefficientNet


class Conv(_Named):
    """`deconvnet.layers.Conv` in PyTorch, with the same arguments."""

    layer_class = layers.Conv


class Conv3x3(_Named):
    """`deconvnet.layers.Conv3x3` in PyTorch, with the same arguments."""

    layer_class = layers.Conv3x3


class Dense(_Named):
    """`deconvnet.layers.Dense` in PyTorch, with the same arguments."""

    layer_class = layers.Dense


class EdgeTaper(_Named):
    """`deconvnet.layers.EdgeTaper` in PyTorch, with the same arguments."""

    layer_class = layers.EdgeTaper


class Features(_Named):
    """`deconvnet.layers.Features` in PyTorch, with the same arguments."""

    layer_class = layers.Features


class ImageEstimation(_Named):
    """`deconvnet.layers.ImageEstimation` in PyTorch, with the same arguments."""

    layer_class = layers.ImageEstimation


class LearnableFBA(_Named):
    """`deconvnet.layers.LearnableFBA` in PyTorch, with the same arguments."""

    layer_class = layers.LearnableFBA


class PsfConsistency(_Named):
    """`deconvnet.layers.PsfConsistency` in PyTorch, with the same arguments."""

    layer_class = layers.PsfConsistency


class PsfSoftmax(_Named):
    """`deconvnet.layers.PsfSoftmax` in PyTorch, with the same arguments."""

    layer_class = layers.PsfSoftmax


class PsfSupport(_Named):
    """`deconvnet.layers.PsfSupport` in PyTorch, with the same arguments."""

    layer_class = layers.PsfSupport


class Quotient(_Named):
    """`deconvnet.layers.Quotient` in PyTorch, with the same arguments."""

    layer_class = layers.Quotient


class Recombine(_Named):
    """`deconvnet.layers.Recombine` in PyTorch, with the same arguments."""

    layer_class = layers.Recombine


class Relu(_Named):
    """`deconvnet.layers.Relu` in PyTorch, with the same arguments."""

    layer_class = layers.Relu


class SpectralFilter(_Named):
    """`deconvnet.layers.SpectralFilter` in PyTorch, with the same arguments."""

    layer_class = layers.SpectralFilter


class Tanh(_Named):
    """`deconvnet.layers.Tanh` in PyTorch, with the same arguments."""

    layer_class = layers.Tanh


class WhitenedBands(_Named):
    """`deconvnet.layers.WhitenedBands` in PyTorch, with the same arguments."""

    layer_class = layers.WhitenedBands
