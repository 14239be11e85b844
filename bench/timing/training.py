"""The training table: steps a second of both kinds of network, synthesis of the data included."""

from __future__ import annotations

import numpy as np

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


class _TorchTrainer:
    """The same steps in PyTorch: autograd and its fastest Adam on data of the same synthesizer.

    Parameters
    ----------
    network : torch.nn.Module
    draw : callable
        ``draw(rng)`` gives the arrays of a batch.
    loss : callable
        ``loss(network, *tensors)``.
    device : Device
    """

    def __init__(self, network, draw, loss, device):
        import torch

        self.network, self.draw, self.loss, self.device = network, draw, loss, device
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, lr=RATE, fused=True)
        self.steps = 0

    def accumulate(self, rng):
        """Gradients of one batch."""
        from bench.peers.torch_photo import tensor

        tensors = [tensor(a, self.device.name) for a in self.draw(rng)]
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(self.network, *tensors)
        loss.backward()
        return loss

    def step(self):
        """Data, gradients, new weights."""
        import torch

        loss = self.accumulate(np.random.default_rng((0, self.steps)))
        self.steps += 1
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        return loss


def _relative_error(psfs, truth):
    residual, energy = (psfs - truth).square().sum(dim=(-2, -1)), truth.square().sum(dim=(-2, -1))
    return (residual / energy).mean()


def _burst_loss(network, frames, truth, psfs):
    """`train.burst`'s default: log squared error of the picture and a tenth of the PSFs' relative error."""
    import torch

    prediction, found = network(frames)
    errors = (prediction - truth).square().mean(dim=(1, 2))
    return 0.5 * torch.log(errors + 3e-5).mean() + BURST_DEFAULTS["psf_loss"] * _relative_error(found, psfs)


def _photo_loss(network, frames, truth):
    return _relative_error(network(frames), truth)


def _quotient_burst(device, batch):
    """Our trainer, and what PyTorch needs to make its own."""
    network = burst_network("quotient").to(device.name)
    seen, _ = split_photographs(default_photographs())
    synthesizer = BurstSynthesizer(seen, BurstSettings.camera(psf_size=network.psf_size, crop=network.surround))
    settings = {**BURST_DEFAULTS, "frames": [14, 14], "batch": batch}
    task = BurstTask(network, settings, {"camera": synthesizer}, {}, device.name)

    def draw(rng):
        rng.integers(1)  # as the task does, which chooses among synthesizers
        made = synthesizer.batch(rng, batch, 14, device=device.name)
        return made.frames, central(made.sharp, network.centre), made.psfs

    def peer():
        from bench.peers.torch_quotient_burst import TorchQuotientBurst

        return TorchQuotientBurst(network, device.name), draw, _burst_loss

    return _Trainer(task), draw, peer


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

    def peer():
        from bench.peers.torch_photo import TorchPyramid

        return TorchPyramid(network, device.name), draw, _photo_loss

    return _Trainer(task), draw, peer


#: What is trained: name, maker, batch size (and that of ``--quick``).
TRAININGS = (
    ("quotient burst, 14 frames of 129 px", _quotient_burst, 32, 4),
    ("single photo, one stage of 17 px, crops of 128 px", _photo_stage, PHOTO_DEFAULTS["batch"], 2),
)


def _norms(gradients):
    """Norms of the gradients of all parameters, sorted: PyTorch's have other names and layouts, but these are equal."""
    return np.sort([n for n in (float(np.linalg.norm(g.astype(np.float64))) for g in gradients) if n > 0])


def _torch_step(peer, device, quick):
    """PyTorch's step in its fastest form, the first batch's gradients still in place, and the seconds of all forms."""
    import torch

    from bench.peers.torch_photo import FEATURE_FORMS

    network, draw, loss = peer()
    trainer = _TorchTrainer(network, draw, loss, device)
    forms = {}
    if hasattr(network, "use"):
        for name in ("plain", "channels last", "compiled"):
            if name in FEATURE_FORMS and not (quick and name == "compiled"):
                forms[name] = (network, name)
    else:
        forms["plain"] = (network, None)
        if not quick:
            forms["compiled"] = (torch.compile(network), None)

    def in_form(name):
        def call():
            module, features = forms[name]
            if features:
                module.use(features)
            trainer.network = module
            trainer.accumulate(np.random.default_rng(0))

        return call

    chosen = {name: in_form(name) for name in forms}
    best, seconds = fastest_form(chosen, device)
    chosen[best]()
    return trainer, best, seconds


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
            trainer, draw, torch_parts = make(device, batch)
            first, gradient = timed(trainer.gradient, device.sync)
            row["first_call"] = first
            calls = {"synthesis": lambda draw=draw: draw(np.random.default_rng(1)), "ours": trainer.step}
            row["torch"] = peer.absent
            if peer.installed:
                torch_trainer, row["form"], row["forms"] = _torch_step(torch_parts, device, quick)
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
