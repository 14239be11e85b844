"""The napari plugin: what its widgets compute, its manifest, and, where napari and Qt are, the widgets themselves."""

import os
from pathlib import Path

import numpy as np
import pytest

import deconvnet
from deconvnet.blur.convolve import convolve
from deconvnet.errors import DeconvnetError
from deconvnet.interop.napari import restore_burst, restore_photo

MANIFEST = Path(deconvnet.__file__).parent / "interop" / "napari.yaml"


@pytest.fixture
def blurry(camera):
    return convolve(camera[60:150, 60:160].astype(np.float32), np.ones((1, 5), np.float32) / 5)


def test_a_photo_becomes_two_layers(blurry):
    (sharp, attributes, kind), (psf, about, _) = restore_photo(blurry, False, "photo", psf_size=9)
    assert kind == "image" and attributes == {"name": "photo restored", "rgb": False}
    np.testing.assert_array_equal(sharp, deconvnet.deblur(blurry, psf_size=9))
    assert psf.shape == (9, 9) and psf.max() == 1 and about["name"] == "photo PSF"


def test_a_burst_becomes_two_layers(blurry):
    frames = np.stack([blurry, blurry[:, ::-1][:, ::-1], blurry])
    options = {"register": "none", "refine": False}
    (sharp, *_), (psfs, *_) = restore_burst(frames, False, "burst", **options)
    np.testing.assert_array_equal(sharp, deconvnet.deblur_burst(frames, **options))
    assert psfs.shape[2] == 3 and np.allclose(psfs.max(axis=(-2, -1)), 1)


def test_layers_of_the_other_kind_are_refused(blurry):
    with pytest.raises(DeconvnetError, match="'a' is a stack"):
        restore_photo(np.stack([blurry] * 2), False, "a")
    with pytest.raises(DeconvnetError, match="'a' is no stack"):
        restore_burst(np.stack([blurry] * 3, axis=-1), True, "a")


def test_the_manifest_names_what_there_is():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert len(manifest.contributions.widgets) == 2


def test_the_widgets_restore_what_is_chosen(blurry, monkeypatch):
    monkeypatch.setitem(os.environ, "QT_QPA_PLATFORM", "offscreen")
    pytest.importorskip("qtpy", reason="no Qt", exc_type=Exception)
    layers = pytest.importorskip("napari.layers")
    from qtpy.QtCore import QEventLoop, QTimer
    from qtpy.QtWidgets import QApplication

    from deconvnet.interop.napari import burst_widget, photo_widget

    _application = QApplication.instance() or QApplication([])
    for widget, name, data, options in (
        (photo_widget(), "image", blurry, {"psf_size": 9}),
        (burst_widget(), "stack", np.stack([blurry] * 2), {"register": "none", "refine": False}),
    ):
        worker = widget(**{name: layers.Image(data, name="given")}, **options)
        found, loop = [], QEventLoop()
        worker.returned.connect(found.append)
        worker.finished.connect(loop.quit)
        QTimer.singleShot(60_000, loop.quit)
        loop.exec()
        (sharp, attributes, _), _ = found[0]
        assert attributes["name"] == "given restored" and sharp.shape == blurry.shape
        assert {"image": {"psf_size", "noise", "varying"}, "stack": {"register", "refine"}}[name] < {
            part.name for part in widget
        }
