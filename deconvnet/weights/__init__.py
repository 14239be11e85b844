"""The trained networks that ship: one safetensors file (float16) and one card each.

`find_model` turns the name of one, or the path of a user's own, into a path.
"""

from __future__ import annotations

import os
from pathlib import Path

from deconvnet.errors import DeconvnetError, short

__all__ = ["find_model", "shipped_models"]

HERE = Path(__file__).parent


def shipped_models() -> dict[str, str]:
    """Names of the networks that ship, ``{name: first line of the card}``."""
    cards = {path.stem: path.with_suffix(".md") for path in sorted(HERE.glob("*.safetensors"))}
    return {name: card.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for name, card in cards.items()}


def find_model(name_or_path: str | Path) -> Path:
    """Path of a shipped network's weights by its name, or of a file.

    Parameters
    ----------
    name_or_path : str or path-like
        A name out of `shipped_models`, or the path of a ``model.safetensors``.

    Returns
    -------
    Path
        Of an existing file.

    Raises
    ------
    DeconvnetError
        If there is neither such a name nor such a file.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise DeconvnetError(f"the model is {short(name_or_path)}: name one that ships, or a file")
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = HERE / f"{name_or_path}.safetensors"
    if path.name == str(name_or_path) and shipped.is_file():
        return shipped
    names = ", ".join(shipped_models()) or "none"
    raise DeconvnetError(
        f"there is no model {name_or_path}: name a shipped one ({names}) or the model.safetensors of a training run"
    )
