"""The page's layout, and which handler answers to what."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from tracedge.images import IMAGE_SUFFIXES
from tracedge.web.desk import COMPARE, STEPS
from tracedge.web.downloads import FORMATS
from tracedge.web.handlers import Handlers
from tracedge.web.limits import Limits
from tracedge.web.reading import Controls

TITLE = (
    "<h1>tracedge</h1><p>Drop a photo: the edges between things, and the things themselves. "
    "No labels were needed to learn this.</p>"
)
PICTURE = 470  # px, so that all of a photo stands on a screen of 1280 x 900
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
MASKS: dict[str, Any] = {"concurrency_id": "masks", "concurrency_limit": 2}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}


class _Side(NamedTuple):
    """What a visitor gives and turns."""

    drop: gr.File
    examples: gr.Gallery
    photos: gr.Gallery
    strength: gr.Slider
    smallest: gr.Slider
    zoom: gr.Radio

    @property
    def controls(self) -> list[Any]:
        return [self.strength, self.smallest, self.zoom]


class _Main(NamedTuple):
    """What is shown."""

    problems: gr.HTML
    line: gr.HTML
    tabs: dict[str, gr.Tab]
    objects: gr.Image
    table: gr.HTML
    edges: gr.ImageSlider
    before: gr.Image
    after: gr.Image
    compared_line: gr.HTML
    curve: gr.HTML
    chosen_line: gr.HTML
    step: gr.Slider
    attention: gr.Image
    formats: gr.CheckboxGroup
    make: gr.Button
    files: gr.File

    @property
    def view(self) -> list[Any]:
        return [self.objects, self.edges, self.line, self.table]

    @property
    def closer(self) -> list[Any]:
        return [self.before, self.after, self.compared_line, self.chosen_line, self.step, self.attention, self.curve]


def build_page(handlers: Handlers, limits: Limits) -> gr.Blocks:
    """The page, to be launched."""
    with gr.Blocks(title="tracedge", analytics_enabled=False) as page:
        gr.HTML(TITLE, elem_id="title")
        index = gr.State(0)
        with gr.Row():
            with gr.Column(scale=0, min_width=330):
                side = _side(handlers, limits)
            with gr.Column(scale=1, min_width=480):
                main = _main()
        _wire(handlers, side, main, index)
        page.unload(handlers.close)
    return page


def _side(handlers: Handlers, limits: Limits) -> _Side:
    plain, least = Controls(), 100 * Controls().smallest
    drop = gr.File(
        label="Photos",
        show_label=False,
        file_count="multiple",
        file_types=sorted(IMAGE_SUFFIXES),
        height=132,
        elem_id="drop",
    )
    _only_uploads(drop)
    gr.HTML(
        f'<p class="hint">Up to {limits.max_photos} photos, {limits.max_megabytes} MB and '
        f"{limits.max_pixels / 1e6:g} megapixels each. Or try one of these:</p>"
    )
    examples = gr.Gallery(
        [str(path) for path in handlers.examples],
        show_label=False,
        columns=4,
        height=86,
        allow_preview=False,
        object_fit="cover",
        buttons=[],
        interactive=False,
        elem_id="examples",
    )
    photos = gr.Gallery(
        label="Your photos",
        columns=4,
        height=112,
        allow_preview=False,
        object_fit="cover",
        buttons=[],
        interactive=False,
        visible=False,
        elem_id="photos",
    )
    with gr.Group():
        strength = gr.Slider(
            0.05, 0.6, plain.strength, step=0.01, label="Edge strength", buttons=[],
            info="How strong an outline must be. Lower: more objects, more doubtful.",
            elem_id="strength",
        )  # fmt: skip
        smallest = gr.Slider(
            least, 5, least, step=0.05, label="Smallest object, %", buttons=[],
            info="Share of the photo: smaller things are left out.", elem_id="smallest",
        )  # fmt: skip
        zoom = gr.Radio(
            [("Whole", 1), ("Fine", 2), ("Finest", 3)], value=1, label="Detail", elem_id="zoom",
            info="Fine and finest also read the photo in parts, for small objects; slower.",
        )  # fmt: skip
    return _Side(drop, examples, photos, strength, smallest, zoom)


def _main() -> _Main:
    picture: dict[str, Any] = {"show_label": False, "interactive": False, "buttons": ["fullscreen"], "format": "png"}
    problems = gr.HTML(visible=False, elem_id="problems")
    line = gr.HTML('<p class="line">Nothing here yet: drop a photo, or choose an example.</p>', elem_id="line")
    with gr.Tabs():
        with gr.Tab("Objects", id="objects") as tab_objects, gr.Row():
            objects = gr.Image(height=PICTURE, scale=3, elem_id="objects", **picture)
            with gr.Column(scale=2, min_width=220):
                table = gr.HTML(elem_id="table")
        with gr.Tab("Edges", id="edges") as tab_edges:
            edges = gr.ImageSlider(height=PICTURE, max_height=PICTURE, elem_id="edges", **picture)
        with gr.Tab("Before and after", id=COMPARE) as tab_compare:
            compared_line = gr.HTML(elem_id="compared-line")
            with gr.Row():
                before = gr.Image(height=400, elem_id="before", **picture)
                after = gr.Image(height=400, elem_id="after", **picture)
        with gr.Tab("How the step is chosen", id=STEPS) as tab_steps:
            chosen_line = gr.HTML(elem_id="chosen-line")
            with gr.Row():
                with gr.Column(scale=1, min_width=260):
                    attention = gr.Image(height=360, elem_id="attention", **picture)
                with gr.Column(scale=1, min_width=260):
                    step = gr.Slider(
                        0, 900, 0, step=100, label="Noise level t", buttons=[], interactive=False, elem_id="step",
                        info="Parts of one colour attend alike.",
                    )  # fmt: skip
                    curve = gr.HTML(elem_id="curve")
        with gr.Tab("Files", id="files") as tab_files:
            choices = [(form.label, name) for name, form in FORMATS.items()]
            formats = gr.CheckboxGroup(
                choices, value=["edges", "labels", "coco"], label="What to take home", elem_id="formats",
                info="Of all your photos, with the controls as they are now. More than one file comes as a zip.",
            )  # fmt: skip
            make = gr.Button("Make the files", variant="primary", elem_id="make")
            files = gr.File(show_label=False, file_count="multiple", interactive=False, visible=False, elem_id="files")
    tabs = {"objects": tab_objects, "edges": tab_edges, COMPARE: tab_compare, STEPS: tab_steps, "files": tab_files}
    return _Main(
        problems, line, tabs, objects, table, edges, before, after, compared_line, curve, chosen_line, step, attention,
        formats, make, files,
    )  # fmt: skip


def _wire(handlers: Handlers, side: _Side, main: _Main, index: gr.State) -> None:
    asked = [index, *side.controls]
    taken = [main.problems, side.photos, index, *main.view, main.files, *main.closer]
    turned = [*main.view, main.files]
    busy: dict[str, Any] = {"show_progress_on": [main.objects, main.edges], **PRIVATE}

    def then_caught_up(event: Any) -> Any:
        """What was turned meanwhile follows."""
        quiet: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", **MASKS, **PRIVATE}
        return event.success(handlers.catch_up, asked, main.view, **quiet)

    def then_closer(event: Any) -> None:
        """The slower tabs follow, if one of them is open."""
        on: dict[str, Any] = {"show_progress_on": [main.before, main.after, main.attention], **MODEL, **PRIVATE}
        looked = then_caught_up(event).success(
            handlers.look_closer, asked, main.closer, trigger_mode="always_last", **on
        )
        then_caught_up(looked)

    # Photos come in. They are the visitor's at once, and wait for the model afterwards.
    received = side.drop.upload(handlers.receive, side.drop, side.drop, queue=False, **busy)
    then_closer(received.success(handlers.take, side.controls, taken, **busy, **MODEL))
    then_closer(side.examples.select(handlers.take_example, side.controls, taken, **busy, **MODEL))
    then_closer(side.photos.select(handlers.pick, side.controls, [index, *main.view, *main.closer], **busy, **MASKS))
    # A control is turned.
    then_closer(side.zoom.input(handlers.reread, asked, turned, **busy, **MODEL))
    for slider in (side.strength, side.smallest):
        then_closer(slider.release(handlers.find, asked, turned, trigger_mode="always_last", **busy, **MASKS))
    # Something else is looked at.
    for name, tab in main.tabs.items():
        opened = tab.select(handlers.opens(name), show_progress="hidden", queue=False, **PRIVATE)
        if name in (COMPARE, STEPS):
            then_closer(opened)
    looked = [main.attention, main.curve]
    quick: dict[str, Any] = {"show_progress": "hidden", "queue": False, "trigger_mode": "always_last", **PRIVATE}
    main.step.input(handlers.look_at, [index, main.step], looked, **quick)
    # Files go out.
    then_caught_up(main.make.click(handlers.files, [main.formats, *side.controls], main.files, **MASKS, **PRIVATE))


def _only_uploads(drop: gr.File) -> None:
    """Take files that were uploaded: gradio would also fetch an address that a request names in place of one."""
    move = drop.async_move_resource_to_block_cache

    async def moved(path: Any) -> str | None:
        if "://" in str(path):
            raise gr.Error("Drop a file: this page fetches nothing from elsewhere.", print_exception=False)
        return await move(path)

    drop.async_move_resource_to_block_cache = moved  # type: ignore[method-assign, assignment]
