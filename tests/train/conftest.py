"""Photographs that the tests of training learn from, and a finished run."""

import imageio.v3 as iio
import numpy as np
import pytest

from tests.train.commands import run


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of twelve textured pictures, two of them in a subfolder, and a file that is none."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "more").mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        picture = rng.integers(0, 256, (30, 34, 3)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
        iio.imwrite(folder / ("more" if i < 2 else ".") / f"picture{i}.png", picture)
    (folder / "notes.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def finished(request, images, tmp_path_factory):
    """Folder and process of a run of eight steps of the module's PROGRAM, never interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, run(request.module.PROGRAM, images, out, "--steps", "8", *request.module.SHORT)
