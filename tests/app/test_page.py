"""The page in a real browser: files are dropped, results downloaded and compared with those of the command line."""

import base64
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import skimage.data
from PIL import Image

from deconvnet.blur.convolve import convolve
from deconvnet.cli.main import main

pytest.importorskip("nicegui", reason="needs the extra app")
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path: apt-get install chromium"),
]
LONG = 120_000  # milliseconds: the machine may be busy


@pytest.fixture(scope="module")
def address():
    """Of a server that runs as people start it; and that it ends well on Ctrl-C."""
    command = [sys.executable, "-m", "deconvnet", "app", "--no-browser", "--threads", "1"]
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}  # NiceGUI looks for it
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield re.search(r"http://127\.0\.0\.1:\d+", server.stderr.readline())[0]
    finally:
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=30)[1]
    assert server.returncode == 0 and "Traceback" not in said, said


@pytest.fixture
def page(address):
    """A page; and that it asks nobody but its own server for anything."""
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        yield page
        browser.close()
    assert len(asked) > 5 and all(url.removeprefix("blob:").startswith(address) for url in asked), asked
    assert errors == []


def _photographs(folder, shakes, shape):
    """Blurry parts of a photograph as JPEG files that name their author, one for each shake."""
    scene = skimage.data.astronaut()[:, ::-1].astype(np.float32) / 255
    names = []
    for index, shake in enumerate(shakes):
        blurry = np.stack([convolve(scene[..., c], shake, border="valid") for c in range(3)], axis=-1)
        blurry = np.tile(blurry, (1, 2, 1))[: shape[0], : shape[1]]
        picture = Image.fromarray(np.rint(blurry.clip(0, 1) * 255).astype(np.uint8))
        exif = Image.Exif()
        exif[0x013B] = "A. Author"
        picture.save(folder / f"frame {index}.jpg", quality=95, exif=exif)
        names.append(f"frame {index}.jpg")
    return names


def _drop(page, folder, names):
    """Drop files on the page as a file manager does."""
    files = [[name, base64.b64encode((folder / name).read_bytes()).decode()] for name in names]
    transfer = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, text] of files) {
                const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
            }
            return transfer;
        }""",
        files,
    )
    page.dispatch_event(".dn-drop", "drop", {"dataTransfer": transfer})


def _result(page, name):
    """Wait for a result of this name; its bytes and the command that is said to do the same."""
    link = page.locator(f'a[download="{name}"]')
    link.wait_for(timeout=LONG)
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == name
    return download.value.path().read_bytes(), page.inner_text(".dn-command")


def _same_as_command(folder, monkeypatch, result, command):
    """Whether the command line makes the very same file."""
    arguments = shlex.split(command)[1:]
    monkeypatch.chdir(folder)
    assert main([*arguments, "--threads", "1", "--quiet"]) == 0
    return (folder / arguments[-1]).read_bytes() == result


def test_a_photograph_first_a_part_then_whole_with_other_settings(page, tmp_path, monkeypatch):
    name = _photographs(tmp_path, [np.eye(7, dtype=np.float32) / 7], (150, 540))[0]
    _drop(page, tmp_path, [name])
    result, command = _result(page, "frame 0-sharp-part.jpg")
    assert "--only 14,0,512,150" in command and "--noise" not in command
    assert _same_as_command(tmp_path, monkeypatch, result, command)
    assert Image.open(tmp_path / "frame 0-sharp-part.jpg").getexif()[0x013B] == "A. Author"
    for shown in ("before", "after"):  # a pixel of the picture is one of the screen
        picture = page.locator(f"img.dn-{shown}")
        assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [512, 150]
        assert (picture.bounding_box()["width"], picture.bounding_box()["height"]) == (512, 150)
    divider, after = page.locator(".dn-divider"), page.locator("img.dn-after")
    assert "256px" in after.get_attribute("style")
    divider.focus()
    page.keyboard.press("ArrowRight")
    assert divider.get_attribute("aria-valuenow") == "52" and "266.24px" in after.get_attribute("style")

    page.get_by_text("Find it").click()
    slider = page.locator(".dn-strength")
    slider.click(position={"x": slider.bounding_box()["width"] * 7 / 12, "y": 10})
    page.get_by_text("+0.5 (noise").wait_for()
    page.get_by_text("25 pixels", exact=True).wait_for()
    page.get_by_text("Restore the whole picture").click()
    result, command = _result(page, "frame 0-sharp.jpg")
    assert "--psf-size 25 --noise 0.0" in command and "--only" not in command
    assert _same_as_command(tmp_path, monkeypatch, result, command)
    assert page.locator("img[alt=PSF]").evaluate("image => image.naturalWidth") == 25


def test_a_burst(page, tmp_path, monkeypatch):
    shakes = [np.eye(5, dtype=np.float32) / 5, np.eye(5, dtype=np.float32)[::-1] / 5, np.full((5, 1), 0.2, np.float32)]
    names = _photographs(tmp_path, shakes, (120, 130))
    _drop(page, tmp_path, names[::-1])
    result, command = _result(page, "frame 0-sharp.jpg")
    assert _same_as_command(tmp_path, monkeypatch, result, command)
    assert page.locator("img[alt=PSF]").count() == 3
    pictures = [page.locator(f"img.dn-{shown}") for shown in ("before", "after")]
    sizes = [picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") for picture in pictures]
    assert sizes[0] == sizes[1]


def test_what_is_no_picture_is_refused_in_one_line(page, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    _drop(page, tmp_path, ["notes.png"])
    page.locator(".dn-error", has_text="notes.png").wait_for(timeout=LONG)
    assert "/tmp" not in page.inner_text(".dn-error")


@pytest.mark.parametrize("header", [{"Host": "elsewhere.example"}, {"Origin": "http://elsewhere.example"}])
def test_pages_of_other_sites_are_refused(address, header):
    with contextlib.closing(urllib.request.build_opener(urllib.request.ProxyHandler({}))) as opener:
        assert opener.open(address).status == 200
        with pytest.raises(urllib.error.HTTPError, match="403"):
            opener.open(urllib.request.Request(address, headers=header))
