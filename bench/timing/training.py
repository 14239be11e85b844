"""The training table: steps a second of both kinds of network, synthesis of the data included."""

from __future__ import annotations

import numpy as np

from bench import peers
from bench.timing.burst import burst_network
from bench.timing.measure import check_equal, fastest_form, interleaved, timed
from bench.timing.table import Column, Table
from deconvnet.backend import to_host
from deconvnet.blur.photographs import default_photographs, split_photographs
from deconvnet.blur.synthesis import BurstSettings, BurstSynthesizer
from deconvnet.networks.photo_pyramid import Pyramid, scale_config
from train.burst import DEFAULTS as BURST_DEFAULTS
from train.burst import BurstTask, central
from train.optimisers import Adam, gradient_norm
from train.photo import DEFAULTS as PHOTO_DEFAULTS
from train.photo import PhotoTask

__all__ = ["training_table"]

RATE = 1e-5  # small: the weights that are compared stay close over all the steps that are timed
TOLERANCE = 2e-3  # of the norms of all parameters' gradients


class _Trainer:
    """Our side of a training step: a task of `train.loop` and its optimiser.

    Parameters
    ----------
    task : BurstTask or PhotoTask
    """

    def __init__(self, task):
        self.task = task
        self.parameters = task.network.parameters()
        self.optimiser = Adam(self.parameters, clip=1.0)
        self.steps = 0

    def gradient(self):
        """Gradients of the first batch, by parameter."""
        self.task.network.zero_grad()
        self.task.accumulate(np.random.default_rng(0), 0, None)
        return {name: to_host(p.grad).copy() for name, p in self.parameters.items()}

    def step(self):
        """Data, gradients, new weights: what `train.loop.train` does."""
        self.task.network.zero_grad()
        self.task.accumulate(np.random.default_rng((0, self.steps)), self.steps, None)
        self.steps += 1
        self.optimiser.step(RATE, self.steps, gradient_norm(self.parameters))


def _quotient_burst(device, batch):
    """Our trainer, what draws its data, and the name of PyTorch's trainer in `bench.peers.torch_training`."""
    network = burst_network("quotient").to(device.name)
    seen, _ = split_photographs(default_photographs())
    synthesizer = BurstSynthesizer(seen, BurstSettings.camera(psf_size=network.psf_size, crop=network.surround))
    settings = {**BURST_DEFAULTS, "frames": [14, 14], "batch": batch}
    task = BurstTask(network, settings, {"camera": synthesizer}, {}, device.name)

    def draw(rng):
        rng.integers(1)  # as the task does, which chooses among synthesizers
        made = synthesizer.batch(rng, batch, 14, device=device.name)
        return made.frames, central(made.sharp, network.centre), made.psfs

    return _Trainer(task), draw, "quotient_burst"


def _photo_stage(device, batch):
    """One stage for PSFs of 17 px, as `train.photo` begins."""
    size, crop = PHOTO_DEFAULTS["psf_size"], PHOTO_DEFAULTS["crop"]
    network = Pyramid(scales=[scale_config(size, stages=1)], rng=np.random.default_rng(0)).to(device.name)
    seen, _ = split_photographs(default_photographs())
    synthesizer = BurstSynthesizer(seen, BurstSettings.plain(psf_size=size, crop=crop))
    settings = {**PHOTO_DEFAULTS, "batch": batch, "stage_steps": 1}
    task = PhotoTask(network, settings, synthesizer, None, device.name, learned=1)

    def draw(rng):
        made = synthesizer.batch(rng, batch, 1, device=device.name)
        return made.frames[:, 0], made.psfs[:, 0]

    return _Trainer(task), draw, "photo_stage"


#: What is trained: name, maker, batch size (and that of ``--quick``).
TRAININGS = (
    ("quotient burst, 14 frames of 129 px", _quotient_burst, 32, 4),
    ("single photo, one stage of 17 px, crops of 128 px", _photo_stage, PHOTO_DEFAULTS["batch"], 2),
)


def _norms(gradients):
    """Norms of the gradients of all parameters, sorted: PyTorch's have other names and layouts, but these are equal."""
    return np.sort([n for n in (float(np.linalg.norm(g.astype(np.float64))) for g in gradients) if n > 0])


COLUMNS = [
    Column("device", "device"),
    Column("what", "network"),
    Column("batch", "batch", "n"),
    Column("synthesis", "synthesis", "ms"),
    Column("ours", "deconvnet, a step", "ms"),
    Column("torch", "PyTorch, a step", "ms"),
    Column("rate", "deconvnet, steps a second", "n"),
    Column("torch_rate", "PyTorch's", "n"),
    Column("ratio", "ratio", "x"),
    Column("ratio_without", "without synthesis", "x"),
    Column("form", "PyTorch's form"),
]


def training_table(device, peer, *, quick=False):
    """Rows of one device.

    Parameters
    ----------
    device : Device
    peer : Peer
    quick : bool
        Small batches.

    Returns
    -------
    Table
    """
    table = Table(
        "training",
        "A step of training",
        COLUMNS,
        "Synthesis of the data, forward, backward, clipping, Adam. PyTorch gets the same data from the same "
        "synthesizer, and its autograd and fused Adam do the rest.",
    )
    for name, make, batch, small in TRAININGS:
        batch = small if quick else batch
        row = {"device": device.name, "what": name, "batch": batch}
        with table.attempt(row):
            trainer, draw, peer_name = make(device, batch)
            first, gradient = timed(trainer.gradient, device.sync)
            row["first_call"] = first
            calls = {"synthesis": lambda draw=draw: draw(np.random.default_rng(1)), "ours": trainer.step}
            row["torch"] = peer.absent
            if peer.installed:
                make_peer = getattr(peers.load("torch_training"), peer_name)
                torch_trainer, forms = make_peer(trainer.task.network, draw, RATE, device.name, quick=quick)
                row["form"], row["forms"] = fastest_form(forms, device)
                forms[row["form"]]()  # so that the first batch's gradients are there
                theirs = [p.grad.cpu().numpy() for p in torch_trainer.parameters if p.grad is not None]
                row["difference"] = check_equal(
                    f"gradient of the {name}", _norms(theirs), _norms(gradient.values()), TOLERANCE
                )
                calls["torch"] = torch_trainer.step
            for call in calls.values():
                call()
            found = interleaved(calls, device, seconds=2.0 if quick else 15.0)
            row["timings"] = found
            row["synthesis"], row["ours"] = found["synthesis"]["seconds"], found["ours"]["seconds"]
            row["rate"] = 1 / row["ours"]
            if peer.installed:
                row["torch"] = found["torch"]["seconds"]
                row["torch_rate"] = 1 / row["torch"]
                row["ratio"] = row["torch"] / row["ours"]
                row["ratio_without"] = (row["torch"] - row["synthesis"]) / (row["ours"] - row["synthesis"])
    return table
