"""How the page is laid out, and what its controls do."""

from __future__ import annotations

import itertools
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import Client, app, events, run, ui

from deconvnet.app.dropped import Dropped, Wishes, command, look_at, make_item, noise_for, part_around, shown_as
from deconvnet.app.elements import Compare, Part
from deconvnet.app.pace import Pace, Run
from deconvnet.app.worker import Worker
from deconvnet.errors import DeconvnetError
from deconvnet.files.formats import READABLE
from deconvnet.work.items import BurstItem, PhotoItem
from deconvnet.work.workers import Outcome

__all__ = ["add_page"]

HERE = Path(__file__).parent
#: PSF sizes on the slider.
SMALLEST, LARGEST = 9, 151
#: Formats of results beside that of the input, and what they are called.
FORMATS = {"": "like the input", ".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG", ".webp": "WebP"}
#: Files that are dropped anywhere on the page go to the uploader, and a click on the field opens its dialog.
DROPPING = """
<script>
  const over = (event, on) => { event.preventDefault(); document.body.classList.toggle("dn-over", on); };
  window.addEventListener("dragover", (event) => over(event, true));
  window.addEventListener("dragleave", (event) => over(event, false));
  window.addEventListener("drop", (event) => {
    over(event, false);
    if (event.dataTransfer.files.length) getElement(UPLOADER).$refs.qRef.addFiles(event.dataTransfer.files);
  });
</script>
"""


def time_text(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"


def add_page(folder: Path, worker: Worker) -> None:
    """Tell NiceGUI of the page at ``/``.

    Parameters
    ----------
    folder : Path
        Everything that is dropped and made is kept there, for as long as its page is open.
    worker : Worker
    """
    pace = Pace()
    app.add_static_files("/pictures", folder, max_cache_age=0)
    app.on_startup(worker.start)
    app.on_shutdown(worker.stop)

    @ui.page("/", title="deconvnet")
    def page(client: Client) -> None:
        own = folder / secrets.token_hex(8)
        own.mkdir()
        client.on_delete(lambda: shutil.rmtree(own, ignore_errors=True))
        _Page(own, worker, pace)


class _Page:
    """What one visitor sees, and the state behind it."""

    def __init__(self, folder: Path, worker: Worker, pace: Pace) -> None:
        self.folder, self.worker, self.pace = folder, worker, pace
        self.dropped: Dropped | None = None
        self.wishes = Wishes()
        self.run: Run | None = None
        self._numbers = itertools.count()
        ui.add_css(HERE / "page.css")
        ui.colors(primary="#2f6f8f")
        with ui.element("div").classes("dn-page"):
            with ui.element("aside").classes("dn-side"):
                ui.label("deconvnet").classes("dn-title")
                ui.label("Sharp pictures from shaky ones. Nothing leaves this computer.").classes("dn-note")
                self._drop_field()
                self.message = ui.label().classes("dn-error")
                self.settings = ui.element("div").classes("dn-setting").style("gap: 0.75rem")
            with ui.element("section").classes("dn-main"):
                with ui.row().classes("items-center w-full") as self.working:
                    ui.spinner(size="1.6em")
                    self.doing = ui.label()
                    ui.space()
                    ui.button("Stop", on_click=worker.stop).props("flat dense")
                    self.bar = ui.linear_progress(0, show_value=False).props("instant-feedback")
                self.working.set_visibility(False)
                self.results = ui.element("div").classes("dn-setting").style("gap: 0.75rem")
                with self.results:
                    ui.label("Drop a photograph on the left, or several frames of one scene.").classes("dn-note")
        ui.timer(0.25, self._tick)

    # Dropping

    def _drop_field(self) -> None:
        uploader = ui.upload(multiple=True, auto_upload=True, on_multi_upload=self._received)
        uploader.classes("dn-uploader").props(f'accept="image/*,{",".join(READABLE)}"')
        field = ui.element("div").classes("dn-drop").props('role="button" tabindex="0"')
        with field:
            ui.html("<b>Drop a photo here</b><br>or all frames of a burst,<br>or click to choose", sanitize=False)
        for event in ("click", "keydown.enter"):
            field.on(event, js_handler=f"() => getElement({uploader.id}).$refs.qRef.pickFiles()")
        ui.add_body_html(DROPPING.replace("UPLOADER", str(uploader.id)))
        self.uploader = uploader

    async def _received(self, event: events.MultiUploadEventArguments) -> None:
        self.uploader.reset()
        if self.run is not None:
            self.message.text = "Wait for what is running, or stop it first."
            return
        self.message.text = ""
        folder = self._new_folder()
        files = []
        for file in event.files:
            path = folder / (Path(file.name).name.lstrip(".") or "picture")
            while path in files:  # two of one name, from two folders
                path = path.with_name(f"{path.stem}_{path.suffix}")
            await file.save(path)
            files.append(path)
        view = self._new_folder()
        try:
            dropped = await run.io_bound(look_at, files, view)
        except DeconvnetError as error:
            self._refuse(str(error))
            return
        if dropped is None:  # the server is ending
            return
        self.results.clear()
        self.dropped, self.wishes = dropped, Wishes(suffix=self.wishes.suffix)
        self.settings.clear()
        with self.settings:
            self._settings(dropped)
        await self._restore(part=part_around(dropped, (0.5, 0.5))[2:] != (dropped.width, dropped.height))

    def _new_folder(self) -> Path:
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        return folder

    def _address(self, file: Path) -> str:
        return f"/pictures/{self.folder.name}/{file.relative_to(self.folder).as_posix()}"

    # Settings

    def _settings(self, dropped: Dropped) -> None:
        wishes = self.wishes
        what = f"{len(dropped.files)} frames" if dropped.burst else dropped.files[0].name
        ui.label(f"{what}, {dropped.width}×{dropped.height} pixels").classes("dn-note")
        *_, width, height = part_around(dropped, (0.5, 0.5))
        whole = (width, height) == (dropped.width, dropped.height)

        def moved(centre: tuple[float, float]) -> None:
            wishes.centre = centre

        Part(self._address(dropped.overview), width / dropped.width, height / dropped.height, moved)
        if not whole:
            ui.label(f"Click where to try {width}×{height} pixels.").classes("dn-note")
        with ui.column().classes("w-full gap-2"):
            if not whole:
                ui.button("Restore the framed part", on_click=lambda: self._restore(part=True)).classes("w-full")
            ui.button("Restore the whole picture", on_click=lambda: self._restore(part=False)).classes("w-full").props(
                "" if whole else "outline"
            )
        if dropped.burst:
            ui.switch("Refine the PSFs: sharper, slower", value=True, on_change=self._kept("refine"))
        else:
            self._photo_settings(dropped)
        ui.select(FORMATS, value=wishes.suffix, label="Format of the result", on_change=self._kept("suffix")).classes(
            "w-full"
        )

    def _kept(self, name: str) -> Callable[[events.ValueChangeEventArguments], None]:
        """What keeps a control's value as one of the wishes."""
        wishes = self.wishes
        return lambda event: setattr(wishes, name, event.value)

    def _photo_settings(self, dropped: Dropped) -> None:
        wishes = self.wishes

        def resized() -> None:
            wishes.psf_size = None if found.value else int(size.value)
            told.text = f"{wishes.psf_size} pixels" if wishes.psf_size else "found"

        with ui.element("div").classes("dn-setting"):
            with ui.element("div").classes("dn-head"):
                ui.label("Size of the blur")
                told: ui.label = ui.label("found").classes("dn-note")
            found: ui.switch = ui.switch("Find it", value=True, on_change=resized)
            size: ui.slider = ui.slider(min=SMALLEST, max=LARGEST, step=2, value=25, on_change=resized)
            size.bind_enabled_from(found, "value", backward=lambda on: not on).props('aria-label="size of the blur"')
            with ui.element("div").classes("dn-ends"):
                ui.label("small")
                ui.label("large")

        def strengthened() -> None:
            wishes.strength = float(strength.value)
            noise = noise_for(dropped, wishes.strength)
            noted.text = "as estimated" if noise is None else f"{wishes.strength:+g} (noise {noise:g})"

        with ui.element("div").classes("dn-setting"):
            with ui.element("div").classes("dn-head"):
                ui.label("Strength")
                noted: ui.label = ui.label("as estimated").classes("dn-note")
            strength: ui.slider = ui.slider(min=-3, max=3, step=0.5, value=0, on_change=strengthened)
            strength.classes("dn-strength").props('aria-label="strength"')
            with ui.element("div").classes("dn-ends"):
                ui.label("smoother")
                ui.label("sharper, more grain")
        ui.switch("The blur differs over the picture", on_change=self._kept("varying"))

    # Restoring

    async def _restore(self, *, part: bool) -> None:
        if self.run is not None or self.dropped is None:
            return
        self.message.text = ""
        dropped, folder = self.dropped, self._new_folder()
        item = make_item(dropped, self.wishes, folder, part=part)
        size = (item.only[2] * item.only[3] if item.only else dropped.width * dropped.height) * len(dropped.files)
        kind = f"{type(item).__name__} {isinstance(item, PhotoItem) and item.varying}"
        self.run = Run(self.pace.expected(kind, size))
        self.working.set_visibility(True)
        self._tick()
        try:
            outcome = await self.worker.run(item, self.run.hear)
        finally:
            self.run = None
            self.working.set_visibility(False)
        if outcome.result is None:
            self._refuse(outcome.why)
            return
        self.pace.learn(kind, size, outcome.result["seconds"])
        after = await run.io_bound(shown_as, Path(item.output))
        if after is None:  # the server is ending
            return
        self.results.clear()
        with self.results:
            self._show(item, outcome, after)

    def _refuse(self, why: str) -> None:
        """Say why not, without the folders that nobody has asked about."""
        for folder in (*self.folder.glob("*/"), self.folder):
            why = why.replace(f"{folder}/", "")
        self.message.text = why[:1].upper() + why[1:]

    def _tick(self) -> None:
        if self.run is None:
            return
        left, share = self.run.left(), self.run.share()
        words = self.run.words or "starting"
        if left is None:
            self.doing.text = f"{words}, {time_text(self.run.elapsed())} so far"
        else:
            self.doing.text = f"{words}, about {time_text(left)} left"
        self.bar.props["indeterminate"] = share is None
        self.bar.value = share or 0.0
        self.bar.update()

    # Results

    def _show(self, item: PhotoItem | BurstItem, outcome: Outcome, after: Path) -> None:
        result: dict[str, Any] = outcome.result or {}
        output = Path(item.output)
        with ui.row().classes("items-center w-full"):
            part = "Part of it" if item.only else "The whole picture"
            ui.label(f"{part}: {result['width']}×{result['height']} pixels, {result['bits']} bits").classes("text-lg")
            ui.space()
            link = f'href="{self._address(output)}" download="{output.name}"'
            ui.button(f"Download {output.name}").props(f'{link} icon="download" no-caps').classes("dn-download")
        for line in result["warnings"]:
            ui.label(line).classes("dn-note")
        with ui.element("div").classes("dn-results"):
            before = self._address(Path(str(item.before_out)))
            Compare(before, self._address(after), result["width"], result["height"])
            with ui.element("div").classes("dn-psfs"):
                self._show_psfs(item, result)
        hint = "Drag the divider, or the picture where it is larger than its window. One pixel is one of the screen."
        ui.label(hint).classes("dn-note")
        ui.label("The same from a terminal:").classes("dn-note")
        ui.label(command(item)).classes("dn-command")

    def _show_psfs(self, item: PhotoItem | BurstItem, result: dict[str, Any]) -> None:
        size = "×".join(map(str, result["psf_size"] or ()))
        where = Path(str(item.psf_out))
        maps = isinstance(item, BurstItem) or item.varying
        if isinstance(item, BurstItem):
            ui.label(f"PSFs of each frame, {size} pixels").classes("dn-note")
            pictures = sorted(where.glob("psf_*.png"))
        else:
            ui.label(f"The PSF{'s' if item.varying else ''}, {size} pixels").classes("dn-note")
            pictures = [where]
        for picture in pictures:
            address, pixels = self._address(picture), "" if maps else ' class="dn-pixels"'
            image = f'<img src="{address}" alt="PSF"{pixels}>'
            ui.html(
                f'<a href="{address}" target="_blank" title="larger">{image}</a>' if maps else image, sanitize=False
            )
        if not maps:
            ui.link("PSF as a picture", self._address(where)).props(f'download="{where.name}"').classes("dn-note")
