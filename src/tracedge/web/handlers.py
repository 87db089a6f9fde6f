"""Between gradio and the desk: a visitor's key from the request, progress, sentences as messages, answers as updates."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from tracedge.errors import TracedgeError
from tracedge.web.desk import Choice, Comparison, Desk
from tracedge.web.reading import Controls
from tracedge.web.words import problems_html

Answers = Callable[..., Any]
A = TypeVar("A", bound=Answers)


def said(answer: A) -> A:
    """What tracedge raises on purpose is shown to the visitor; of all else gradio says no more than that it went wrong."""

    @wraps(answer)
    def speaking(*args: Any, **kwargs: Any) -> Any:
        try:
            return answer(*args, **kwargs)
        except TracedgeError as error:
            raise gr.Error(str(error), duration=10, print_exception=False) from error

    return speaking  # type: ignore[return-value]


class Handlers:
    """A method for each thing that a visitor does. examples: the files of the pictures to choose from.

    The controls come as strength, smallest (percent of the photo) and zoom, in this order.
    """

    def __init__(self, desk: Desk, examples: list[Path]) -> None:
        self.desk, self.examples = desk, examples

    @said
    def take(
        self,
        files: list[str] | None,
        strength: float,
        smallest: float,
        zoom: int,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # how gradio finds it
    ) -> list[Any]:
        """Uploads. The drop zone is empty again afterwards."""
        paths = [Path(file) for file in files or []]
        return [None, *self._taken(paths, Controls(strength, smallest / 100, zoom), request, progress)]

    @said
    def take_example(
        self,
        strength: float,
        smallest: float,
        zoom: int,
        request: gr.Request,
        chosen: gr.SelectData,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        path = self.examples[int(chosen.index)]
        return self._taken([path], Controls(strength, smallest / 100, zoom), request, progress)

    @said
    def reread(
        self,
        index: int,
        strength: float,
        smallest: float,
        zoom: int,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        """Another zoom: the model is asked anew."""
        controls, key = Controls(strength, smallest / 100, zoom), _key(request)
        if not self.desk.names(key):
            return [gr.skip()] * 4
        self.desk.reread(key, controls, _report(progress))
        return self._view(key, index, controls)

    @said
    def find(self, index: int, strength: float, smallest: float, zoom: int, request: gr.Request) -> list[Any]:
        """Other masks of the same edges: no model is asked."""
        key = _key(request)
        if not self.desk.names(key):
            return [gr.skip()] * 4
        return self._view(key, index, Controls(strength, smallest / 100, zoom))

    @said
    def pick(
        self, strength: float, smallest: float, zoom: int, request: gr.Request, chosen: gr.SelectData
    ) -> list[Any]:
        """Another of the visitor's photos."""
        index = int(chosen.index)
        return [index, *self._view(_key(request), index, Controls(strength, smallest / 100, zoom))]

    def opens(self, tab: str) -> Callable[[gr.Request], None]:
        """What remembers that this tab is open; a function, since gradio sees no types of a partial one."""

        def opened(request: gr.Request) -> None:
            self.desk.open_tab(_key(request), tab)

        return opened

    @said
    def look_closer(
        self,
        index: int,
        strength: float,
        smallest: float,
        zoom: int,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        """What the tabs show that take the model longer, if one of them is open."""
        key, controls = _key(request), Controls(strength, smallest / 100, zoom)
        if not self.desk.names(key):
            return [gr.skip()] * 7
        compared = self.desk.compare(key, index, controls)
        choice = self.desk.explain(key, index, _report(progress))
        return [*_compared(compared), *self._chosen(key, index, choice)]

    def look_at(self, index: int, timestep: float, request: gr.Request) -> list[Any]:
        """The slider moved: the picture of that step."""
        look = self.desk.look(_key(request), index, timestep)
        return [gr.skip()] * 2 if look is None else [str(look.picture), look.curve]

    @said
    def files(
        self, formats: list[str], strength: float, smallest: float, zoom: int, request: gr.Request
    ) -> dict[str, Any]:
        made = self.desk.files(_key(request), formats, Controls(strength, smallest / 100, zoom))
        return gr.update(value=[str(made)], visible=True)

    def close(self, request: gr.Request) -> None:
        """The visitor is gone: so is what was kept."""
        self.desk.visits.close(_key(request))

    def _taken(self, paths: list[Path], controls: Controls, request: gr.Request, progress: gr.Progress) -> list[Any]:
        key = _key(request)
        said = problems_html(self.desk.take(key, paths, controls, _report(progress)))
        problems = gr.update(value=said, visible=bool(said))
        names = [(str(picture), name) for picture, name in self.desk.names(key)]
        gallery = gr.update(value=names, visible=len(names) > 1, selected_index=None)
        no_files = gr.update(value=None, visible=False)
        if not names:
            return [problems, gallery, 0, None, None, "", "", no_files]
        return [problems, gallery, 0, *self._view(key, 0, controls), no_files]

    def _view(self, key: str, index: int, controls: Controls) -> list[Any]:
        view = self.desk.view(key, index, controls)
        return [str(view.objects), (str(view.photo), str(view.edges)), view.line, view.table]

    def _chosen(self, key: str, index: int, choice: Choice | None) -> list[Any]:
        look = self.desk.look(key, index, choice.chosen) if choice is not None else None
        if choice is None or look is None:
            return [gr.skip()] * 4
        first, second, *_ = choice.timesteps
        slider = gr.update(
            minimum=first, maximum=choice.timesteps[-1], step=second - first, value=choice.chosen, interactive=True
        )
        return [choice.line, slider, str(look.picture), look.curve]


def _compared(compared: Comparison | None) -> list[Any]:
    if compared is None:
        return [gr.skip()] * 3
    return [str(compared.before), str(compared.after), compared.line]


def _key(request: gr.Request) -> str:
    return str(request.session_hash)


def _report(progress: gr.Progress) -> Callable[[float, str], None]:
    return lambda share, what: progress(share, desc=what)
