"""Which configurations a model file may hold: checked before anything is built, or any memory taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deconvnet.errors import DeconvnetError

__all__ = ["check_config", "check_weights"]

#: A test of one entry: None if the value is fine, or what is wanted instead.
Test = Callable[[Any], "str | None"]
#: Whole numbers up to here need no weights that bear them out.
SMALL = 1024


def _whole(lowest: int, highest: int, *, odd: bool = False, none: bool = False) -> Test:
    def test(value: Any) -> str | None:
        fits = type(value) is int and lowest <= value <= highest and (value % 2 == 1 or not odd)
        wanted = f"{'an odd' if odd else 'a whole'} number from {lowest} to {highest}{' or null' if none else ''}"
        return None if fits or (none and value is None) else wanted

    return test


def _one_of(*names: str) -> Test:
    return lambda value: None if value in names else f"one of {', '.join(names)}"


def _several(each: Test, most: int, *, empty: bool = False) -> Test:
    def test(value: Any) -> str | None:
        if type(value) not in (list, tuple) or len(value) > most or (not value and not empty):
            return f"a list of at most {most} entries"
        return next((f"entries that are {wanted}" for wanted in map(each, value) if wanted), None)

    return test


def _scale(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return "described by names and values"
    wrong = _first_wrong(value, SCALE, optional=("targets",))
    if wrong is None and len(value["features"]) < value["stages"]:
        wrong = "such that there are as many features as stages"
    return wrong


_WIDTH = _whole(1, 1 << 16)
#: Of one scale of the pyramid.
SCALE: dict[str, Test] = {
    "psf_size": _whole(3, 255, odd=True),
    "stages": _whole(1, 32),
    "filters": _WIDTH,
    "filter_size": _whole(1, 127, odd=True),
    "hidden_layers": _whole(0, 16),
    "features": _several(_WIDTH, 32),
    "targets": _one_of("learned", "gradients"),
}
_FILTER: dict[str, Test] = {
    "network": _one_of("compact", "paper"),
    "frames": _whole(2, 256, none=True),
    "w1": _WIDTH,
    "w2": _WIDTH,
    "g": _WIDTH,
    "layers": _whole(1, 32),
    "hidden": _WIDTH,
    "fusion": _one_of("softmax", "eq6"),
}
#: By the names of the networks.
SCHEMAS: dict[str, dict[str, Test]] = {
    "quotient": {
        "psf_size": _whole(3, 255, odd=True),
        "widths": _several(_WIDTH, 32),
        "reach": _whole(1, 512),
        "patch": _whole(9, 1023),
        "centre": _whole(1, 1023),
        "fade": _whole(0, 511),
        "step": _whole(0, 1023),
        "noise_bands": _whole(1, 512),
        "refinements": _whole(0, 16),
        "refinement_width": _WIDTH,
    },
    "compact": _FILTER,
    "paper": _FILTER,
    "pyramid": {"scales": _several(_scale, 32), "depth": _whole(1, 1024)},
    "scale-free": {
        "filters": _WIDTH,
        "filter_size": _whole(1, 127, odd=True),
        "hidden_layers": _whole(0, 16),
        "edge_steps": _whole(1, 64),
        "psf_steps": _whole(1, 256),
        "learned_pairs": _whole(0, 1024),
        "levels": _whole(1, 64),
        "iterations": _whole(1, 64),
        "bounds": _several(_whole(1, 1 << 16), 32, empty=True),
    },
    "two-step": {"width": _WIDTH, "depth": _whole(2, 64)},
}


def _first_wrong(config: Mapping[str, Any], schema: Mapping[str, Test], optional: tuple[str, ...] = ()) -> str | None:
    for name, value in config.items():
        if name not in schema:
            return f"without the entry {name!r}"
        wanted = schema[name](value)
        if wanted:
            return f"such that {name!r} is {wanted}, not {str(value)[:40]}"
    missing = [name for name in schema if name not in config and name not in optional]
    return f"with the entry {missing[0]!r}" if missing else None


def _numbers(value: Any) -> list[int]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [number for inner in value for number in _numbers(inner)]
    return [value] if type(value) is int else []


def check_config(name: Any, config: Any, largest: int) -> None:
    """Refuse a configuration that its network cannot have.

    Parameters
    ----------
    name : str
        Of the network, as `deconvnet.networks.io.build_network` knows it.
    config : mapping
        As a model file holds it; entries may be missing that the network has defaults for.
    largest : int
        The largest side of the weights beside it: no width can be larger.

    Raises
    ------
    DeconvnetError
        Naming the first entry that is unknown, of another type or out of range.
    """
    if not isinstance(name, str) or name not in SCHEMAS:
        raise DeconvnetError(f"there is no network {str(name)[:40]!r}: its file may be of a later version")
    if not isinstance(config, Mapping):
        raise DeconvnetError(f"the configuration of the network {name!r} must be names and values")
    needed = ("scales",) if name == "pyramid" else ()
    wrong = _first_wrong(config, SCHEMAS[name], optional=tuple(n for n in SCHEMAS[name] if n not in needed))
    if wrong is None and max(_numbers(config), default=0) > max(SMALL, largest):
        wrong = "such that its widths are those of its weights"
    if wrong:
        raise DeconvnetError(f"the configuration of the network {name!r} must be {wrong}")


def check_weights(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse weights that are no finite floats.

    Raises
    ------
    DeconvnetError
        Naming the first such array.
    """
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise DeconvnetError(f"the weights {name[:60]!r} are {array.dtype}, and floats are wanted")
        if not np.isfinite(array).all():
            raise DeconvnetError(f"the weights {name[:60]!r} hold values that are not finite")
