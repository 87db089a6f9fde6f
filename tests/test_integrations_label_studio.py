"""The Label Studio backend behind a stand-in for its base class, and our brush masks before Label Studio's own decoder.

The stand-in has what `LabelStudioMLBase` of label-studio-ml 2 (on GitHub, not on PyPI) gives a model: a parsed configuration,
a place for the version, and the way from a task's URL to a file.
"""

import importlib.util
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from integration_modules import load
from tracedge import Segmenter
from tracedge.datasets.scenes import draw_scene
from tracedge.export.label_studio import brush_rle

CONFIG = """<View>
  <Image name="photo" value="$picture"/>
  <BrushLabels name="brush" toName="photo"><Label value="Nut"/><Label value="Other"/></BrushLabels>
</View>"""


class LabelStudioMLBase:
    def __init__(self, project_id=None, label_config=None):
        self.kept, self.label_interface = {}, Interface(label_config)
        self.setup()

    def set(self, key, value):
        self.kept[key] = value

    def get_local_path(self, url, task_id=None):
        return url.replace("/data/local-files/?d=", f"{self.files}/")


class Interface:
    def __init__(self, config):
        self.tags = list(ElementTree.fromstring(config))

    def get_first_tag_occurence(self, control_type, object_type):
        for tag in self.tags:
            for other in self.tags:
                if tag.tag == control_type and other.tag == object_type and tag.get("toName") == other.get("name"):
                    return tag.get("name"), other.get("name"), other.get("value").lstrip("$")
        raise ValueError(
            f"No control tag of type {control_type} and object tag of type {object_type} found in label config"
        )

    def get_control(self, name):
        (tag,) = [tag for tag in self.tags if tag.get("name") == name]
        return SimpleNamespace(labels=[label.get("value") for label in tag])


@pytest.fixture
def backend(monkeypatch):
    package, module = ModuleType("label_studio_ml"), ModuleType("label_studio_ml.model")
    module.LabelStudioMLBase = LabelStudioMLBase
    monkeypatch.setitem(sys.modules, "label_studio_ml", package)
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", module)
    loaded = load("label_studio/model.py", "tracedge_label_studio_model")
    loaded._segmenters["mini"] = Segmenter.from_pretrained("mini", size=48)
    return loaded


def test_each_task_gets_a_prediction_in_the_projects_own_words(backend, tmp_path):
    for name in ("a", "b"):
        Image.fromarray(draw_scene(ord(name), 64).image).save(tmp_path / f"{name}.png")
    model = backend.TracedgeModel(label_config=CONFIG)
    model.files = tmp_path
    tasks = [{"id": n, "data": {"picture": f"/data/local-files/?d={name}.png"}} for n, name in enumerate("ab")]
    predictions = model.predict(tasks, context=None)
    assert len(predictions) == 2 and model.kept["model_version"].startswith("tracedge-")
    for name, prediction in zip("ab", predictions, strict=True):
        found = backend.segmenter()(tmp_path / f"{name}.png")
        assert len(prediction["result"]) == len(found) > 0
        for region, mask in zip(prediction["result"], found.masks, strict=True):
            assert (region["from_name"], region["to_name"], region["type"]) == ("brush", "photo", "brushlabels")
            assert region["value"] == {"format": "rle", "rle": brush_rle(mask), "brushlabels": ["Nut"]}
            assert (region["original_width"], region["original_height"]) == (64, 64)
        assert prediction["model_version"] == model.kept["model_version"] and 0 < prediction["score"] <= 1


def test_a_photo_that_cannot_be_read_costs_its_own_prediction_alone(backend, tmp_path, caplog):
    Image.fromarray(draw_scene(97, 64).image).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    model = backend.TracedgeModel(label_config=CONFIG)
    model.files = tmp_path
    names = ("cut", "good", "gone")
    tasks = [{"id": n, "data": {"picture": f"/data/local-files/?d={name}.png"}} for n, name in enumerate(names)]
    cut, good, gone = model.predict(tasks)
    assert good["result"] and good["score"] > 0
    assert cut == gone == {"model_version": good["model_version"], "score": 0.0, "result": []}
    assert [said.getMessage().split(":")[0] for said in caplog.records] == [
        "task 0 has no prediction",
        "task 2 has no prediction",
    ]


def test_a_project_without_brushes_is_said(backend):
    model = backend.TracedgeModel(label_config='<View><Image name="a" value="$b"/></View>')
    with pytest.raises(ValueError, match="BrushLabels"):
        model.predict([{"data": {"b": "a.png"}}])


def test_the_environment_names_another_student_and_it_is_loaded_once(backend, tmp_path, monkeypatch):
    loads = []
    monkeypatch.setattr(backend.tracedge.Segmenter, "from_pretrained", lambda name: loads.append(name) or object())
    monkeypatch.setenv("TRACEDGE_STUDENT", "student-of-mine")
    assert backend.segmenter() is backend.segmenter()
    assert loads == ["student-of-mine"]


@pytest.fixture(scope="module")
def brush():
    """Label Studio's own reader of brush masks, alone: the package around it wants a database's worth of others."""
    for package, inside in (("label_studio_sdk", "converter/brush.py"), ("label_studio_converter", "brush.py")):
        spec = importlib.util.find_spec(package)
        if spec is not None:
            file = Path(spec.origin).parent / inside
            spec = importlib.util.spec_from_file_location("label_studio_brush", file)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    pytest.skip("neither label-studio-sdk nor label-studio-converter is installed (--no-deps will do)")
    return None


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_label_studios_decoder_gives_our_masks_back(brush, mask):
    values = brush.decode_rle(brush_rle(mask)).reshape(*mask.shape, 4)
    assert np.array_equal(values[..., 3] == 255, mask) and set(np.unique(values)) <= {0, 255}
