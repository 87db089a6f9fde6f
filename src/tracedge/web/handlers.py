"""Between gradio and the desk: a visitor's key from the request, progress, sentences as messages, answers as updates."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from tracedge.errors import DataError, TracedgeError
from tracedge.web.desk import SOON, Choice, Comparison, Desk
from tracedge.web.guard import network
from tracedge.web.reading import Controls
from tracedge.web.visits import AtWorkError
from tracedge.web.words import problems_html

SHORTEST_KEY = 7
"""Characters of a session's name. gradio's are random numbers of 52 bits to the base of 36: 10 or 11, very rarely fewer."""
PROGRESS = gr.Progress()
"""The default by which gradio knows what to tell of progress."""
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

    What gradio knows comes first, then the inputs of the page. The controls come last as strength, smallest (percent of the
    photo) and zoom, in this order: `turned`.
    """

    def __init__(self, desk: Desk, examples: list[Path]) -> None:
        self.desk, self.examples = desk, examples

    @said
    def receive(self, request: gr.Request, files: list[str] | None) -> None:
        """Uploads, which then wait for the model. The drop zone is empty again afterwards."""
        sender = network(request.client.host if request.client else "")
        self.desk.visits.receive(_key(request), [Path(file) for file in files or []], sender)

    @said
    def take(self, request: gr.Request, progress: gr.Progress = PROGRESS, *turned: Any) -> list[Any]:
        """Read what was received."""
        key, controls = _key(request), _controls(*turned)
        return self._taken(key, controls, self.desk.take(key, controls, _report(progress)))

    @said
    def take_example(
        self, request: gr.Request, chosen: gr.SelectData, progress: gr.Progress = PROGRESS, *turned: Any
    ) -> list[Any]:
        key, controls = _key(request), _controls(*turned)
        self.desk.take_example(key, self.examples[int(chosen.index)], controls, _report(progress))
        return self._taken(key, controls, [])

    @said
    def reread(self, request: gr.Request, progress: gr.Progress = PROGRESS, index: int = 0, *turned: Any) -> list[Any]:
        """Another zoom: the model is asked anew."""
        key, controls = _key(request), _controls(*turned)
        if not self.desk.visits.has_photos(key):
            return [gr.skip()] * 5
        self.desk.reread(key, controls, _report(progress))
        return [*self._view(key, index, controls), _no_files()]

    @said
    def find(self, request: gr.Request, index: int, *turned: Any) -> list[Any]:
        """Other masks of the same edges: no model is asked."""
        if not self.desk.visits.has_photos(_key(request)):
            return [gr.skip()] * 5
        return [*self._view_soon(_key(request), index, _controls(*turned)), _no_files()]

    @said
    def catch_up(self, request: gr.Request, index: int, *turned: Any) -> list[Any]:
        """The view as the controls are by now: what `find` and `pick` left out while something else was done."""
        if not self.desk.visits.has_photos(_key(request)):
            return [gr.skip()] * 4
        return self._view_soon(_key(request), index, _controls(*turned))

    @said
    def pick(self, request: gr.Request, chosen: gr.SelectData, *turned: Any) -> list[Any]:
        """Another of the visitor's photos. Files are of all of them, and stay."""
        index = int(chosen.index)
        return [index, *self._view_soon(_key(request), index, _controls(*turned)), *_nothing_closer()]

    def opens(self, tab: str) -> Callable[[gr.Request], None]:
        """What remembers that this tab is open; a function, since gradio sees no types of a partial one."""

        @said
        def opened(request: gr.Request) -> None:
            self.desk.visits.open_tab(_key(request), tab)

        return opened

    @said
    def look_closer(
        self, request: gr.Request, progress: gr.Progress = PROGRESS, index: int = 0, *turned: Any
    ) -> list[Any]:
        """What the tabs show that take the model longer, if one of them is open."""
        key = _key(request)
        if not self.desk.visits.has_photos(key):
            return _nothing_closer()
        compared = self.desk.compare(key, index, _controls(*turned))
        choice = self.desk.explain(key, index, _report(progress))
        return [*_compared(compared), *self._chosen(key, index, choice)]

    @said
    def look_at(self, request: gr.Request, index: int, timestep: float) -> list[Any]:
        """The slider moved: the picture of that step."""
        look = self.desk.look(_key(request), index, timestep)
        return [gr.skip()] * 2 if look is None else [str(look.picture), look.curve]

    @said
    def files(self, request: gr.Request, formats: list[str], *turned: Any) -> dict[str, Any]:
        made = self.desk.files(_key(request), formats, _controls(*turned))
        return gr.update(value=[str(made)], visible=True)

    def close(self, request: gr.Request) -> None:
        """The visitor is gone: so is what was kept."""
        self.desk.visits.close(str(request.session_hash))

    def _taken(self, key: str, controls: Controls, sentences: list[str]) -> list[Any]:
        said = problems_html(sentences)
        problems = gr.update(value=said, visible=bool(said))
        names = [(str(picture), name) for picture, name in self.desk.names(key)]
        gallery = gr.update(value=names, visible=len(names) > 1, selected_index=None)
        view = self._view(key, 0, controls) if names else [None, None, "", ""]
        return [problems, gallery, 0, *view, _no_files(), *_nothing_closer()]

    def _view_soon(self, key: str, index: int, controls: Controls) -> list[Any]:
        """What is there stays while something else is done for the visitor; `catch_up` follows it."""
        try:
            return self._view(key, index, controls, SOON)
        except AtWorkError:
            return [gr.skip()] * 4

    def _view(self, key: str, index: int, controls: Controls, seconds: float | None = None) -> list[Any]:
        view = self.desk.view(key, index, controls, seconds)
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


def _nothing_closer() -> list[Any]:
    """The slower tabs without the photo that was there before."""
    return [None, None, "", "", gr.update(value=0, interactive=False), None, ""]


def _no_files() -> dict[str, Any]:
    """What was made to be taken home was of other photos, or other controls."""
    return gr.update(value=None, visible=False)


def _key(request: gr.Request) -> str:
    """The name of a session.

    Raises:
        DataError: none, or one that others may have too.
    """
    key = request.session_hash
    if not isinstance(key, str) or len(key) < SHORTEST_KEY:
        raise DataError("A request to this page needs the session name that the page makes up: load the page again.")
    return key


def _controls(strength: float, smallest: float, zoom: int) -> Controls:
    return Controls(strength, smallest / 100, zoom)


def _report(progress: gr.Progress) -> Callable[[float, str], None]:
    return lambda share, what: progress(share, desc=what)
