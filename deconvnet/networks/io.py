"""Trained networks on disk: one safetensors file with the weights and, in its metadata, how to rebuild them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from deconvnet._version import __version__
from deconvnet.backend import Array, to_host
from deconvnet.errors import DeconvnetError, short
from deconvnet.files import replacing
from deconvnet.networks.config import check_config, check_weights
from deconvnet.networks.protocols import Network
from deconvnet.weights import find_model

__all__ = ["as_network", "build_network", "load_arrays", "load_network", "save_arrays", "save_network"]


def build_network(
    name: str,
    config: Mapping[str, Any] | None = None,
    *,
    rng: np.random.Generator | None = None,
    dtype: DTypeLike = "float32",
) -> Any:
    """A network with fresh weights.

    Parameters
    ----------
    name : str
        ``"quotient"``, ``"compact"`` or ``"paper"`` for bursts, ``"pyramid"`` for a photo.
    config : dict, optional
        Keyword arguments of the network's class; its defaults otherwise.
    rng : numpy.random.Generator, optional
        Source of the weights.
    dtype : numpy dtype

    Raises
    ------
    DeconvnetError
        If there is no network of that name.
    """
    config = dict(config or {})
    if name == "quotient":
        from deconvnet.networks.burst_quotient import QuotientBurst

        return QuotientBurst(**config, rng=rng, dtype=dtype)
    if name in ("compact", "paper"):
        from deconvnet.networks.burst_filter import FilterBurst

        return FilterBurst(**{"network": name, **config}, rng=rng, dtype=dtype)
    if name == "pyramid":
        from deconvnet.networks.photo_pyramid import Pyramid

        return Pyramid(**config, rng=rng, dtype=dtype)
    if name == "scale-free":
        from deconvnet.networks.photo_scale_free import ScaleFreePhoto

        return ScaleFreePhoto(**config, rng=rng, dtype=dtype)
    if name == "two-step":
        from deconvnet.networks.image_network import ImageNetwork

        return ImageNetwork(**config, rng=rng, dtype=dtype)
    raise DeconvnetError(f"there is no network {name!r}: use quotient, compact, paper, pyramid, scale-free or two-step")


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Array], record: Any) -> None:
    """Write arrays and a JSON-able record to a safetensors file, of which nobody sees half.

    Raises
    ------
    DeconvnetError
        If it cannot be written.
    """
    from safetensors.numpy import save

    host = {name: to_host(a) for name, a in arrays.items()}
    with replacing(Path(path)) as part, part.open("wb") as file:  # save_file would not give it ordinary permissions
        file.write(save(host, metadata={"deconvnet": json.dumps(record)}))
        file.flush()
        os.fsync(file.fileno())


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], Any]:
    """``(arrays, record)`` of a file written by `save_arrays`.

    Raises
    ------
    DeconvnetError
        If the file is missing, is no safetensors file, or was not written by this package.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise DeconvnetError(f"there is no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            record = json.loads((file.metadata() or {}).get("deconvnet", "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise DeconvnetError(f"{path} cannot be read as a model (safetensors): {error}".replace("\n", " ")) from error
    if not isinstance(record, dict):
        raise DeconvnetError(f"{path} is a safetensors file, but not one of this project's models")
    return arrays, record


def save_network(path: str | os.PathLike[str], network: Network, *, training: Mapping[str, Any] | None = None) -> None:
    """Write a network's weights, kind, name and configuration, and what is known of its training.

    Parameters
    ----------
    path : path-like
        Usually ``model.safetensors``.
    network : Network
    training : dict, optional
        Steps, seconds, seed, data, scores: anything JSON can hold.
    """
    record = {
        "version": __version__,
        "kind": network.kind,
        "network": network.name,
        "config": network.config,
        "training": training or {},
    }
    save_arrays(path, network.state(), record)


def load_network(path: str | os.PathLike[str], *, kind: str | None = None, device: str = "cpu") -> Any:
    """A trained network; its training record becomes the attribute ``training``.

    Parameters
    ----------
    path : str or path-like
        Name of a network that ships (`deconvnet.weights.shipped_models`), or a ``model.safetensors``.
    kind : {"burst", "photo"}, optional
        Refuse networks of another kind.
    device : {"cpu", "cuda"}

    Raises
    ------
    DeconvnetError
        If the file is missing, unreadable, of another kind, or its weights do not fit.
    """
    file = find_model(Path(path) if isinstance(path, os.PathLike) else path)
    arrays, record = load_arrays(file)
    if "network" not in record or "config" not in record:
        raise DeconvnetError(f"{path} holds no network; name the model.safetensors of a training run")
    if kind is not None and record.get("kind") != kind:
        raise DeconvnetError(f"{path} is a model for a {record.get('kind')}, and a {kind} needs one of its own kind")
    name, config = record["network"], record["config"]
    if "active" in arrays and arrays["active"].size == 1 and isinstance(config, dict):
        # Files of version 0.1 keep the number of trained stages among the weights.
        config = {**config, "depth": int(arrays.pop("active").item())}
    try:
        check_weights(arrays)
        check_config(name, config, max((side for array in arrays.values() for side in array.shape), default=0))
        network = build_network(name, config)
        network.load_state(arrays)
    except MemoryError:
        raise
    except Exception as error:  # what a file says may not fit in ways that only its network knows
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DeconvnetError(f"{path} is no model that can be used: {reason}") from error
    network.training = record.get("training", {})
    return network.to(device)


def as_network(model: str | os.PathLike[str] | Network, kind: str, device: str) -> Any:
    """The network of a name or path, or a network itself, on the device.

    Parameters
    ----------
    model : str, path-like or Network
        As for `load_network`, or a loaded network.
    kind : {"burst", "photo"}
        Refuse networks of another kind.
    device : {"cpu", "cuda"}

    Raises
    ------
    DeconvnetError
        If there is none, or it is of another kind.
    """
    if isinstance(model, (str, os.PathLike)):
        return load_network(model, kind=kind, device=device)
    if not isinstance(getattr(model, "kind", None), str):
        raise DeconvnetError(f"the model is {short(model)}: name one that ships, a file, or a loaded network")
    if model.kind != kind:
        raise DeconvnetError(f"the model is for a {model.kind}, and a {kind} needs one of its own kind")
    return model.to(device)
