"""PSFs of sampled and of recorded shake."""

import numpy as np
import pytest

from deconvnet import parallel
from deconvnet.backend import array_module, to_host
from deconvnet.blur.psf import load_shake, sample_gp_psfs, sample_recorded_psfs
from deconvnet.errors import DeconvnetError


def _gyro_file(path, rng, seconds=6.0, gap_at=None):
    times = np.arange(0, seconds, 0.00476)
    if gap_at is not None:
        times = np.where(times > gap_at, times + 1.0, times)
    phase = rng.uniform(0, 6, 3)
    rates = 0.1 * np.sin(2 * np.pi * np.array([3.0, 5.0, 2.0]) * times[:, None] + phase)
    np.savetxt(path, np.column_stack([times * 1e9 + 1e15, rates]), fmt=["%d", "%.9g", "%.9g", "%.9g"], delimiter="\t")
    return path


@pytest.fixture
def shake(tmp_path, rng):
    return load_shake(_gyro_file(tmp_path / "gyro.txt", rng))


def _centre_of_mass(psfs):
    offset = np.arange(psfs.shape[-1]) - psfs.shape[-1] // 2
    return np.stack([(psfs * offset[:, None]).sum((1, 2)), (psfs * offset).sum((1, 2))], axis=1)


def _sample(kind, rng, shake, *arguments, **options):
    if kind == "sampled":
        return sample_gp_psfs(rng, *arguments, **options)
    return sample_recorded_psfs(rng, shake, *arguments, **options)


@pytest.mark.parametrize("kind", ["sampled", "recorded"])
def test_psfs_are_normalised_and_centred_on_the_shift(rng, shake, kind):
    shift = rng.uniform(-0.5, 0.5, (40, 2))
    psfs = _sample(kind, rng, shake, 40, rng.uniform(1, 23, 40), 25, shift=shift)
    assert psfs.shape == (40, 25, 25) and psfs.dtype == np.float32
    assert psfs.min() >= 0
    np.testing.assert_allclose(psfs.sum((1, 2)), 1, atol=2e-6)
    np.testing.assert_allclose(
        _centre_of_mass(psfs), shift, atol=0.02
    )  # smoothing cut at the border, tiny taps dropped


@pytest.mark.parametrize("kind", ["sampled", "recorded"])
def test_psfs_stay_within_their_support(rng, shake, kind):
    psfs = _sample(kind, rng, shake, 50, 7, 17)
    outside = psfs.copy()
    outside[:, 4:13, 4:13] = 0  # 7 pixels, and one on each side for the smoothing
    assert outside.max() == 0
    assert (psfs[:, 5:12, 5:12].sum((1, 2)) > 0.99).all()
    assert (psfs > 0).sum((1, 2)).mean() > 12


@pytest.mark.parametrize("kind", ["sampled", "recorded"])
def test_support_one_is_a_single_tap_and_a_shift_splits_it_bilinearly(rng, shake, kind):
    still = _sample(kind, rng, shake, 2, 1, 5)
    assert (still[:, 2, 2] == 1).all() and still.sum() == 2
    shifted = _sample(kind, rng, shake, 1, 1, 5, shift=np.array([0.25, -0.5]))[0]
    np.testing.assert_allclose(shifted[2:4, 1:3], [[0.375, 0.375], [0.125, 0.125]], atol=1e-6)


@pytest.mark.parametrize("kind", ["sampled", "recorded"])
def test_psfs_do_not_depend_on_the_number_of_threads(shake, kind):
    results = []
    for count in (1, 3):
        with parallel.threads(count):
            results.append(_sample(kind, np.random.default_rng(5), shake, 30, 15, 17))
    np.testing.assert_array_equal(*results)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["sampled", "recorded"])
def test_psfs_drawn_on_a_gpu_are_those_of_the_cpu(shake, kind):
    support, shift = np.linspace(1, 15, 50), np.linspace(-1, 1, 100).reshape(50, 2)
    here, there = (
        _sample(kind, np.random.default_rng(5), shake, 50, support, 19, shift=shift, device=device)
        for device in ("cpu", "cuda")
    )
    assert array_module(there) is not np
    np.testing.assert_allclose(to_host(there), here, rtol=0, atol=2e-5)


def test_larger_supports_blur_more(rng):
    def spread(support):
        psfs = sample_gp_psfs(rng, 100, support, 25)
        offset = np.arange(25) - 12
        return (psfs * (offset[:, None] ** 2 + offset**2)).sum((1, 2)).mean() ** 0.5

    assert spread(7) < 0.6 * spread(17)


@pytest.mark.parametrize(("support", "size", "shift"), [(0, 5, None), (9, 7, None), (3, 5, (3, 0))])
def test_impossible_supports_and_shifts_are_refused(rng, support, size, shift):
    with pytest.raises(ValueError, match=r"support|grid"):
        sample_gp_psfs(rng, 2, support, size, shift=shift)


def test_shake_is_integrated_to_angles_and_cut_at_gaps(tmp_path, rng):
    file = _gyro_file(tmp_path / "a.txt", rng, seconds=4, gap_at=2.5)
    shake = load_shake(file)
    assert len(shake.bounds) == 3
    readings = np.loadtxt(file)
    piece = shake.angles[: shake.bounds[1]]
    rate = np.diff(piece[:, 0]) * 250
    expected = np.interp(np.arange(len(rate)) / 250 + 0.002, (readings[:, 0] - readings[0, 0]) * 1e-9, readings[:, 1])
    np.testing.assert_allclose(rate, expected, atol=4e-3)


def test_a_folder_of_recordings_is_read_whole(tmp_path, rng):
    for name in ("a.txt", "b.txt"):
        _gyro_file(tmp_path / name, rng)
    assert len(load_shake(tmp_path).bounds) == 3


@pytest.mark.parametrize("content", [None, "not numbers", "1 2 3\n4 5 6\n", "0 0 0 0\n1000000 0 0 0\n"])
def test_what_is_no_recording_is_refused_in_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "gyro.txt").write_text(content)
    with pytest.raises(DeconvnetError) as caught:
        load_shake(tmp_path)
    assert "\n" not in str(caught.value)
