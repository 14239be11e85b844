"""What the page is made of, without a browser: time left, work items, the process that restores, other sites."""

import asyncio

import numpy as np
import pytest

pytest.importorskip("nicegui", reason="needs the extra app")

from deconvnet.app import dropped as room
from deconvnet.app.dropped import Dropped, Wishes
from deconvnet.app.pace import Pace, Run
from deconvnet.app.worker import Worker
from deconvnet.cli import main as command_line
from deconvnet.io import read_image, write_image
from deconvnet.progress import Progress
from deconvnet.work.items import PhotoItem


class _Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_time_left_by_the_count_and_by_earlier_runs():
    pace, clock = Pace(), _Clock()
    first = Run(pace.expected("photo", 100), clock)
    assert first.left() is None and first.share() is None
    first.hear(Progress("reading", 0, None, "reading"))
    assert first.left() is None
    pace.learn("photo", 50, {"reading": 1.0, "estimating": 4.0, "writing": 2.0})
    run = Run(pace.expected("photo", 100), clock)
    assert run.left() == 14 and run.share() == 0
    run.hear(Progress("reading", 0, None, "reading"))
    clock.now = 1.5
    assert run.left() == 12.5
    run.hear(Progress("estimating", 0, 4, "estimating"))
    clock.now = 3.5
    run.hear(Progress("estimating", 1, 4, "estimating"))
    assert run.left() == 3 * 2.0 + 4 and run.share() == 3.5 / 13.5
    clock.now = 60.0
    run.hear(Progress("writing", 0, None, "writing"))
    clock.now = 70.0
    assert run.left() == 0 and run.share() == 1


@pytest.fixture
def photo(tmp_path, astronaut):
    write_image(tmp_path / "a photo.png", astronaut, 16)
    return room.look_at([tmp_path / "a photo.png"], tmp_path)


def test_a_photo_is_looked_at(photo):
    assert (photo.width, photo.height, photo.burst) == (180, 160, False)
    assert 0 < photo.noise < 0.1 and read_image(photo.overview).pixels.shape == (160, 180, 3)
    assert room.noise_for(photo, 0) is None
    assert room.noise_for(photo, 1) == pytest.approx(photo.noise / 2, rel=0.05)


@pytest.mark.parametrize(("centre", "corner"), [((0.5, 0.5), (744, 344)), ((0, 0), (0, 0)), ((1, 1), (1488, 688))])
def test_the_part_lies_within_the_picture(centre, corner, tmp_path):
    large = Dropped((tmp_path / "a.nef",), 2000, 1200, 0.01, tmp_path)
    assert room.part_around(large, centre) == (*corner, 512, 512)
    assert room.make_item(large, Wishes(centre=centre), tmp_path, part=True).output.endswith("a-sharp-part.tif")


def test_the_command_that_is_shown_gives_the_same_item(photo, tmp_path, monkeypatch):
    import shlex

    wishes = Wishes(psf_size=31, strength=-1.5, varying=True, suffix=".tif", centre=(0.1, 0.2))
    item = room.make_item(photo, wishes, tmp_path, part=True)
    options = command_line._parser().parse_args(shlex.split(room.command(item))[1:])
    assert options.photo == "a photo.png" and options.output == "a photo-sharp-part.tif"
    for name in ("only", "psf_size", "varying", "noise", "refine", "model", "bits"):
        assert getattr(options, name) == getattr(item, name), name


def test_pictures_that_browsers_do_not_show_are_shown_as_png(tmp_path, astronaut):
    write_image(tmp_path / "a.tif", astronaut, 32)
    shown = room.shown_as(tmp_path / "a.tif")
    assert shown.suffix == ".png" and np.abs(read_image(shown).pixels - astronaut).max() < 0.51 / 255
    assert room.shown_as(shown) == shown


@pytest.mark.slow
def test_the_worker_restores_refuses_and_can_be_stopped(photo, tmp_path):
    write_image(tmp_path / "psf.png", np.eye(3, dtype=np.float32))
    item = PhotoItem(output=str(tmp_path / "out.png"), photo=str(photo.files[0]), psf=str(tmp_path / "psf.png"))
    missing = PhotoItem(output=str(tmp_path / "no.png"), photo=str(tmp_path / "none.png"))
    longer = PhotoItem(output=str(tmp_path / "longer.png"), photo=str(photo.files[0]))  # its PSF takes a while
    heard = []

    async def work():
        worker = Worker(threads=1)
        done = [await worker.run(item, heard.append), await worker.run(missing, heard.append)]
        stopped = asyncio.create_task(worker.run(longer, lambda progress: worker.stop()))
        done += [await stopped, await worker.run(item, heard.append)]
        worker.stop()
        return done

    first, refused, stopped, again = asyncio.run(work())
    assert first.status == again.status == "done" and "deconvolving" in [progress.what for progress in heard]
    assert refused.status == "failed" and "there is no file" in refused.why
    assert stopped.status == "failed" and stopped.why == "stopped" and not (tmp_path / "longer.png").exists()


def test_without_the_extra_one_line_names_it(monkeypatch, capsys):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nicegui" else found(name))
    assert command_line.main(["app"]) == 2
    assert capsys.readouterr().err == "deconvnet: the page needs what is not installed: pip install 'deconvnet[app]'\n"


def test_a_port_that_is_taken(capsys):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert command_line.main(["app", "--port", str(port), "--no-browser"]) == 2
    assert capsys.readouterr().err == f"deconvnet: port {port} is taken: name another one with --port\n"
