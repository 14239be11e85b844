"""Is PyTorch, the peer, there; and what a table says where it is not."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

from deconvnet.parallel import thread_count

__all__ = ["Peer", "cuda_memory", "find_peer"]


class Peer(NamedTuple):
    """Whether PyTorch can be timed, and the text of its column if not."""

    installed: bool
    absent: str | None = None


def find_peer(name, device):
    """The peer for a device.

    Parameters
    ----------
    name : {"torch", "none"}
        Nothing is compared with ``"none"``.
    device : {"cpu", "cuda"}
    """
    if name == "none":
        return Peer(False)
    if importlib.util.find_spec("torch") is None:
        return Peer(False, "not installed: pip install 'deconvnet[bench]'")
    import torch

    torch.set_num_threads(thread_count())
    if device == "cuda" and not torch.cuda.is_available():
        return Peer(False, "this PyTorch has no CUDA")
    return Peer(True)


def cuda_memory(call):
    """Bytes of GPU memory that PyTorch takes during a call beyond what it holds before."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
