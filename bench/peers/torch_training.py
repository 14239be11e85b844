"""Training steps in PyTorch: autograd and its fastest Adam, on data of our synthesizers."""

from __future__ import annotations

import numpy as np
import torch

from bench.peers.torch_photo import FEATURE_FORMS, TorchPyramid, tensor
from bench.peers.torch_quotient_burst import TorchQuotientBurst
from train.burst import DEFAULTS as BURST_DEFAULTS

__all__ = ["TorchTrainer", "photo_stage", "quotient_burst"]


class TorchTrainer:
    """What `train.loop.train` does in a step, by PyTorch.

    Parameters
    ----------
    network : torch.nn.Module
    draw : callable
        ``draw(rng)`` gives the arrays of a batch.
    loss : callable
        ``loss(network, *tensors)``.
    rate : float
        Learning rate.
    device : {"cpu", "cuda"}
    """

    def __init__(self, network, draw, loss, rate, device):
        self.network, self.draw, self.loss, self.device = network, draw, loss, device
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, lr=rate, fused=True)
        self.steps = 0

    def accumulate(self, rng):
        """Gradients of one batch."""
        tensors = [tensor(a, self.device) for a in self.draw(rng)]
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(self.network, *tensors)
        loss.backward()
        return loss

    def step(self):
        """Data, gradients, new weights."""
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
    prediction, found = network(frames)
    errors = (prediction - truth).square().mean(dim=(1, 2))
    return 0.5 * torch.log(errors + 3e-5).mean() + BURST_DEFAULTS["psf_loss"] * _relative_error(found, psfs)


def _photo_loss(network, frames, truth):
    return _relative_error(network(frames), truth)


def quotient_burst(network, draw, rate, device, *, quick=False):
    """Trainer of the quotient burst network, and its forms: calls that gather the gradients of the first batch.

    Parameters
    ----------
    network : QuotientBurst
        Ours, whose weights are copied.
    draw : callable
        ``draw(rng)`` gives frames, truth and PSFs.
    rate : float
    device : {"cpu", "cuda"}
    quick : bool
        Without the form that is compiled.

    Returns
    -------
    trainer : TorchTrainer
    forms : dict of callable
        The trainer stays in the form that was called last.
    """
    module = TorchQuotientBurst(network, device)
    trainer = TorchTrainer(module, draw, _burst_loss, rate, device)
    modules = {"plain": module} if quick else {"plain": module, "compiled": torch.compile(module)}

    def in_form(form):
        def call():
            trainer.network = modules[form]
            trainer.accumulate(np.random.default_rng(0))

        return call

    return trainer, {form: in_form(form) for form in modules}


def photo_stage(network, draw, rate, device, *, quick=False):
    """As `quotient_burst` for a `Pyramid`; ``draw(rng)`` gives blurry photographs and PSFs, forms are features'."""
    module = TorchPyramid(network, device)
    trainer = TorchTrainer(module, draw, _photo_loss, rate, device)

    def in_form(form):
        def call():
            module.use(form)
            trainer.accumulate(np.random.default_rng(0))

        return call

    names = [name for name in ("plain", "channels last", "compiled") if name in FEATURE_FORMS]
    return trainer, {name: in_form(name) for name in names if not (quick and name == "compiled")}
