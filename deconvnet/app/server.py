"""The server of the page: on this computer, for this computer."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from pathlib import Path

from nicegui import app, ui

from deconvnet.app.local import LocalOnly
from deconvnet.app.page import add_page
from deconvnet.app.worker import Worker
from deconvnet.errors import DeconvnetError, say

__all__ = ["serve"]

HOST = "127.0.0.1"
#: Ports that are tried if none is named.
PORTS = range(8765, 8785)


def _free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError:
            return False
    return True


def serve(port: int | None = None, *, show: bool = True, threads: int | None = None) -> None:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    port : int, optional
        By default the first free one of 8765 to 8784.
    show : bool
        Open it in the browser.
    threads : int, optional
        For the restoration.

    Raises
    ------
    DeconvnetError
        If the port is taken.
    """
    wanted = PORTS if port is None else [port]
    chosen = next(filter(_free, wanted), None)
    if chosen is None:
        raise DeconvnetError(f"port {wanted[0]} is taken: name another one with --port")
    with tempfile.TemporaryDirectory(prefix="deconvnet-app-") as folder:
        add_page(Path(folder), Worker(threads))
        app.add_middleware(LocalOnly, port=chosen)
        app.on_startup(lambda: say(f"deconvnet: the page is at http://{HOST}:{chosen} (Ctrl-C ends it)"))
        with contextlib.suppress(KeyboardInterrupt):
            ui.run(
                host=HOST,
                port=chosen,
                show=show,
                reload=False,
                dark=None,
                favicon=Path(__file__).with_name("icon.svg"),
                show_welcome_message=False,
            )
