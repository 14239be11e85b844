"""Layers in PyTorch: by its own check of gradients, and trained by its optimisers to where ours lead."""

import copy
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deconvnet import layers
from deconvnet.errors import DeconvnetError
from deconvnet.layers import losses
from deconvnet.layers.fba import fba, fba_backward
from deconvnet.layers.quotient import quotient, quotient_backward
from train.optimisers import Adam

ROOT = Path(__file__).resolve().parent.parent.parent
torch = pytest.importorskip("torch")
bridge = importlib.import_module("deconvnet.interop.torch")  # after PyTorch was found

CASES = {
    "BurstDense": ((3, 2), {}, [(2, 3, 3)]),
    "CoefficientNet": ((None, 3), {}, [(1, 3, 4)]),
    "Conv": ((2, 2, 3), {"border": "same"}, [(1, 2, 5, 4)]),
    "Conv3x3": ((2, 3, False), {}, [(1, 5, 4, 2)]),
    "Dense": ((3, 2), {}, [(2, 3)]),
    "EdgeTaper": ((2,), {}, [(1, 6, 7)]),
    "Features": ((1, 3, 3, 1, 2), {}, [(1, 1, 6, 5)]),
    "ImageEstimation": ((2,), {"beta": 0.3}, [(1, 6, 7), (1, 3, 3)]),
    "LearnableFBA": ((None, 3), {"p": 2.0}, [(1, 2, 5, 4)]),
    "PsfSoftmax": ((3,), {}, [(2, 9)]),
    "PsfSupport": ((3,), {}, [(1, 5, 6)]),
    "Quotient": ((0.3,), {"learned": True}, [(1, 2, 5, 4), (1, 2, 5, 4)]),
    "Recombine": ((2, 3), {}, [(1, 2, 3, 4)]),
    "Relu": ((), {}, [(2, 5)]),
    "Tanh": ((), {}, [(2, 5)]),
}


def _case(name):
    """A module in float64 and leaves that want gradients."""
    arguments, options, shapes = CASES[name]
    torch.manual_seed(3)
    module = getattr(bridge, name)(*arguments, **options).double()
    for parameter in module.parameters():  # some start at zero, where half of the gradients vanish
        parameter.data += 0.3 * torch.rand_like(parameter)
    return module, [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("name", CASES)
def test_gradients_hold_in_pytorchs_own_check(name):
    module, inputs = _case(name)
    weights = list(module.parameters())
    keys = [key for key, _ in module.named_parameters()]

    def run(*given):
        own = dict(zip(keys, given[len(inputs) :]))
        return torch.func.functional_call(module, own, given[: len(inputs)])

    assert torch.autograd.gradcheck(run, (*inputs, *weights))


@pytest.mark.parametrize("name", CASES)
def test_a_call_is_the_layers_and_changes_nothing_that_went_in(name):
    module, inputs = _case(name)
    before = [tensor.detach().clone() for tensor in inputs]
    output = module(*inputs)
    weight = torch.randn_like(output)
    kept = weight.clone()
    output.backward(weight)
    assert all(torch.equal(a, b) for a, b in zip([*inputs, weight], [*before, kept]))
    layer, arrays = module.as_layer(), [tensor.detach().numpy() for tensor in inputs]
    exact, cache = layer.forward(*arrays, train=True)
    found = layer.backward(weight.numpy(), cache)
    assert np.array_equal(output.detach().numpy(), exact)
    for tensor, gradient in zip(inputs, found if isinstance(found, tuple) else (found,)):
        assert np.array_equal(tensor.grad.numpy(), gradient)
    for key, parameter in layer.parameters().items():
        assert np.array_equal(module.get_parameter(key).grad.numpy(), parameter.grad)
    with torch.no_grad():
        assert np.allclose(module(*inputs).numpy(), exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["bands", "filter"])
def test_patches_of_the_published_size(name, rng):
    # Too large for differences in every direction: gradcheck's fast mode takes random ones.
    patches = torch.from_numpy(rng.random((1, 65, 65))).requires_grad_()
    if name == "bands":
        module, inputs = bridge.WhitenedBands().double(), (patches,)
    else:
        filters = torch.from_numpy(0.1 * rng.standard_normal((1, 4224))).requires_grad_()
        module, inputs = bridge.SpectralFilter(), (filters, patches)
    assert torch.autograd.gradcheck(module, inputs, fast_mode=True)


def test_an_input_without_a_gradient_gets_none(rng):
    psfs = torch.from_numpy(rng.random((1, 2, 3, 3))).requires_grad_()
    ratio = torch.from_numpy(rng.standard_normal((1, 2, 12)) + 1j * rng.standard_normal((1, 2, 12)))
    module = bridge.PsfConsistency(9, 2)
    assert torch.autograd.gradcheck(lambda psfs: module(psfs, ratio), (psfs,))
    leaf = ratio.clone().requires_grad_()
    module(psfs, leaf).sum().backward()
    assert leaf.grad is None


def test_pure_pairs(rng):
    x, y = (torch.from_numpy(rng.standard_normal((1, 2, 5, 4))).requires_grad_() for _ in range(2))
    beta = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    divided = bridge.function(quotient, quotient_backward)
    assert torch.autograd.gradcheck(divided, (x, y, beta))
    assert torch.equal(divided(x, y, 0.3), divided(x, y, beta))  # a number is passed on
    assert torch.autograd.gradcheck(lambda x: bridge.function(fba, fba_backward)(x, 2.0, sigma=0.5), (x,))
    error = bridge.function(losses.squared_error, lambda dvalue, gradient: dvalue * gradient)
    assert torch.allclose(error(x, y.detach()), torch.nn.functional.mse_loss(x, y))
    assert torch.autograd.gradcheck(lambda x: error(x, y.detach()), (x,))


def test_training_ends_where_our_own_optimiser_does(rng):
    sharp = rng.standard_normal((2, 1, 16, 16))
    psfs = rng.random((2, 3, 3))
    psfs /= psfs.sum(axis=(1, 2), keepdims=True)
    ours = [layers.Features(1, 4, 3, 1, 4, rng, dtype=np.float64), layers.EdgeTaper(3)]
    ours += [layers.Quotient(1.0, learned=True, dtype=np.float64), layers.PsfSupport(3)]
    theirs = [bridge.Module(copy.deepcopy(layer)) for layer in ours]
    theirs_weights = [p for module in theirs for p in module.parameters()]
    features, taper, divide, support = ours
    ours_weights = {f"features.{key}": p for key, p in features.parameters().items()} | divide.parameters()
    adam, torch_adam, values = Adam(ours_weights), torch.optim.Adam(theirs_weights, lr=0.01), ([], [])
    tensor, truth = torch.from_numpy(sharp), torch.from_numpy(psfs)
    for count in range(1, 9):
        maps, kept_features = features.forward(sharp, train=True)
        faded, kept_taper = taper.forward(maps, train=True)
        z, kept_divide = divide.forward(faded[:, :2], faded[:, 2:], train=True)
        found, kept_support = support.forward(z, train=True)
        value, dfound = losses.squared_psf_error(found, psfs)
        values[0].append(float(value))
        for p in ours_weights.values():
            p.grad[...] = 0
        dx, dy = divide.backward(support.backward(dfound, kept_support), kept_divide)
        features.backward(taper.backward(np.concatenate([dx, dy], axis=1), kept_taper), kept_features)
        adam.step(0.01, count, 1.0)

        faded = theirs[1](theirs[0](tensor))
        error = (theirs[3](theirs[2](faded[:, :2], faded[:, 2:])) - truth).square().sum() / 2
        torch_adam.zero_grad()
        error.backward()
        torch_adam.step()
        values[1].append(error.item())
    assert values[0] == pytest.approx(values[1], rel=1e-9) and values[0][-1] < 0.9 * values[0][0]
    for layer, module in zip(ours, theirs):
        for key, array in layer.state().items():
            assert np.allclose(array, module.state_dict()[key].numpy(), rtol=1e-7, atol=1e-9), key


def test_tensors_and_arrays_share_their_memory(rng):
    layer = layers.Dense(3, 2, rng)
    module = bridge.Module(layer)
    with torch.no_grad():
        module.weight.zero_()
    assert not layer.weight.value.any()
    tensor = torch.ones(4, 3)
    assert bridge._as_array(tensor).__array_interface__["data"][0] == tensor.data_ptr()
    found = module.double().as_layer()
    assert found.weight.value.dtype == np.float64 and layer.weight.value.dtype == np.float32


def test_weights_have_the_names_of_our_files_and_modules_can_be_copied(rng):
    layer = layers.Features(1, 3, 3, 1, 2, rng)
    module = copy.deepcopy(bridge.Module(layer))
    assert set(module.state_dict()) == set(layer.state())
    with torch.no_grad():
        module.conv.filters.zero_()
    assert layer.conv.filters.value.any() and not module.as_layer().conv.filters.value.any()
    assert [key for key, _ in bridge.WhitenedBands().named_buffers()] == list(layers.WhitenedBands.buffer_names)


def test_the_seed_is_pytorchs():
    torch.manual_seed(0)
    first = bridge.Dense(3, 2).weight
    torch.manual_seed(0)
    assert torch.equal(first, bridge.Dense(3, 2).weight)
    given = bridge.Dense(3, 2, np.random.default_rng(5)).weight
    assert not torch.equal(first, given)


def test_a_module_used_twice_and_a_graph_kept_add_up():
    module, (x,) = _case("Dense")
    output = module(x).sum() + module(2 * x).sum()
    output.backward(retain_graph=True)
    once = module.weight.grad.clone()
    output.backward()
    assert torch.allclose(module.weight.grad, 2 * once)
    assert torch.allclose(once, 3 * x.detach().sum(dim=0)[:, None].expand_as(once))


def test_what_was_changed_in_place_is_noticed():
    for change in ("input", "output", "weight"):
        module, (x,) = _case("Dense")
        given = x * 1
        output = module(given)
        total = output.sum()
        with torch.no_grad():
            {"input": given, "output": output, "weight": module.weight}[change].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            total.backward()


def test_gradients_of_the_second_order_are_refused():
    module, (x,) = _case("Tanh")
    (gradient,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_bad_tensors_are_told():
    module = bridge.Tanh()
    with pytest.raises(DeconvnetError, match=r"bfloat16: convert it first, by \.float"):
        module(torch.zeros(3, dtype=torch.bfloat16))
    with pytest.raises(DeconvnetError, match="device meta: move it first"):
        module(torch.zeros(3, device="meta"))
    with pytest.raises(DeconvnetError, match="gives several arrays"):
        bridge.function(lambda x: ((x, x), None), None)(torch.zeros(3))


def test_views_and_conjugates_go_in(rng):
    module, (x,) = _case("Dense")
    turned = x.detach().T.contiguous().T  # Fortran order
    assert torch.equal(module(turned), module(x))
    spectrum = torch.from_numpy(rng.standard_normal((1, 2, 12)) + 1j * rng.standard_normal((1, 2, 12)))
    psfs = torch.from_numpy(rng.random((1, 2, 3, 3)))
    consistency = bridge.PsfConsistency(9, 2)
    assert torch.equal(consistency(psfs, spectrum.conj()), consistency(psfs, spectrum.conj().resolve_conj()))


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_gives_the_same(name):
    module, inputs = _case(name)
    exact = torch.autograd.grad(module(*inputs).sum(), inputs)
    module.cuda()
    found = torch.autograd.grad(module(*(tensor.cuda() for tensor in inputs)).sum(), inputs)
    assert all(torch.allclose(a, b, rtol=1e-8, atol=1e-10) for a, b in zip(exact, found))


def test_the_documents_example_runs():
    text = (ROOT / "docs" / "torch.md").read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        first, last = (float(line.split()[-1]) for line in done.stdout.splitlines())
        assert last < 0.8 * first
