"""Elements of the page that NiceGUI does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

__all__ = ["Compare", "Part"]


class Compare(ui.element, component="compare.js"):
    """Before and after on top of each other at 1:1, with a divider to drag.

    Parameters
    ----------
    before, after : str
        Addresses of two pictures of one size.
    width, height : int
        Of them, in pixels.
    """

    def __init__(self, before: str, after: str, width: int, height: int) -> None:
        super().__init__()
        self.props["before"], self.props["after"] = before, after
        self.props["width"], self.props["height"] = width, height


class Part(ui.element, component="part.js"):
    """A small picture with a frame around the part to try.

    Parameters
    ----------
    source : str
        Address of the picture.
    width, height : float
        Of the frame, as shares of the picture's.
    moved : callable
        Gets the middle of the frame, shares from the left and from the top.
    """

    def __init__(self, source: str, width: float, height: float, moved: Callable[[tuple[float, float]], Any]) -> None:
        super().__init__()
        self.props["src"], self.props["w"], self.props["h"] = source, width, height
        self.on("moved", lambda event: moved((event.args["x"], event.args["y"])))
