"""A Label Studio ML backend: instances as brush regions, to be corrected and not drawn.

`label-studio-ml start integrations/label_studio` serves it; see the README beside this file.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

import tracedge
from tracedge.errors import ImageError
from tracedge.export.label_studio import BrushTags, label_studio_task

logger = logging.getLogger(__name__)

VERSION = f"tracedge-{tracedge.__version__}"
_segmenters: dict[str, tracedge.Segmenter] = {}  # a model class is made anew for every request


class TracedgeModel(LabelStudioMLBase):
    """Predicts instances of the image of each task.

    The model is `mini`, which ships with tracedge, or what the environment names in TRACEDGE_STUDENT: a folder, or a hub id.
    """

    def setup(self) -> None:
        self.set("model_version", VERSION)

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """One prediction for each task: a brush region for each instance, with the first label of the project's BrushLabels.

        A task whose photo cannot be fetched or read gets a prediction without regions, and the log says why.

        Raises:
            ValueError: the project's configuration has no BrushLabels of an Image.
        """
        tags = self.tags()
        model = segmenter()  # loaded here: a student that cannot be loaded is no task's fault
        return [self._prediction(model, task, tags) for task in tasks]

    def _prediction(self, model: tracedge.Segmenter, task: dict[str, Any], tags: BrushTags) -> dict[str, Any]:
        try:
            found = model(self.get_local_path(task["data"][tags.data_key], task_id=task.get("id")))
        except (ImageError, OSError) as error:  # OSError: those of requests too
            logger.warning("task %s has no prediction: %s", task.get("id"), error)
            return {"model_version": VERSION, "score": 0.0, "result": []}
        (prediction,) = label_studio_task(found, "", tags, model_version=VERSION)["predictions"]
        return prediction

    def tags(self) -> BrushTags:
        """The names in the project's labelling configuration."""
        from_name, to_name, data_key = self.label_interface.get_first_tag_occurence("BrushLabels", "Image")
        labels = list(self.label_interface.get_control(from_name).labels)
        return BrushTags(from_name, to_name, labels[0] if labels else "object", data_key)


def segmenter() -> tracedge.Segmenter:
    """The model that the environment names, loaded once."""
    name = os.environ.get("TRACEDGE_STUDENT", "mini")
    if name not in _segmenters:
        _segmenters[name] = tracedge.Segmenter.from_pretrained(name)
    return _segmenters[name]
