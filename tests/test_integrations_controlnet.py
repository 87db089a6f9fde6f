"""The detector beside controlnet_aux's: the same calls, and edges of the photo's own size."""

import ast
import importlib.util
import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from integration_modules import load
from tracedge import EdgePredictor
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import SettingsError

TracedgeDetector = load("controlnet/tracedge_detector.py", "tracedge_detector").TracedgeDetector

# controlnet_aux 0.0.10, hed/__init__.py: HEDdetector
LOADED = ["pretrained_model_or_path", "filename", "cache_dir", "local_files_only"]
CALLED = ["input_image", "detect_resolution", "image_resolution", "safe", "output_type", "scribble"]


@pytest.fixture(scope="module")
def detector():
    return TracedgeDetector.from_pretrained("mini", size=48)


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(draw_scene(3, 96).image[:70])


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_it_is_called_as_hed_is():
    assert parameters(TracedgeDetector.from_pretrained)[: len(LOADED)] == LOADED
    assert parameters(TracedgeDetector.__call__)[: len(CALLED)] == CALLED


@pytest.mark.skipif(importlib.util.find_spec("controlnet_aux") is None, reason="controlnet_aux is not installed")
def test_the_signature_written_down_here_is_the_packages():
    source = Path(importlib.util.find_spec("controlnet_aux").origin).parent / "hed" / "__init__.py"
    (hed,) = [node for node in ast.parse(source.read_text()).body if getattr(node, "name", "") == "HEDdetector"]
    names = {
        node.name: [one.arg for one in node.args.args[1:]] for node in hed.body if isinstance(node, ast.FunctionDef)
    }
    assert names["from_pretrained"] == LOADED and names["__call__"] == CALLED


def test_edges_are_white_on_black_of_the_photos_own_size(detector, photo):
    found = detector(photo)
    assert isinstance(found, Image.Image) and (found.mode, found.size) == ("RGB", photo.size)
    assert np.array_equal(
        np.asarray(found), np.asarray(EdgePredictor.from_pretrained("mini", size=48).as_detector()(photo))
    )
    values = np.asarray(found)
    assert values.mean() < 100 < values.max()


def test_pil_and_arrays_are_the_same_in_and_out(detector, photo):
    array = detector(np.asarray(photo), output_type="np")
    assert array.dtype == np.uint8 and array.shape == (70, 96, 3)
    assert np.array_equal(array, np.asarray(detector(photo)))
    assert isinstance(detector(photo, return_pil=False), np.ndarray)


def test_a_resolution_that_is_asked_for_is_controlnet_auxs(detector, photo):
    found = detector(photo, detect_resolution=64, image_resolution=128)
    assert found.size == (192, 128)  # 96 x 70, its short side 128, both sides multiples of 64
    assert detector(photo, detect_resolution=128).size == photo.size


def test_scribbles_are_black_and_white_and_safe_has_three_levels(detector, photo):
    assert set(np.unique(detector(photo, scribble=True))) == {0, 255}
    assert set(np.unique(detector(photo, safe=True))) <= {0, 128, 255}
    thin, soft = (np.asarray(detector(photo, kind=kind)) for kind in ("thin", "soft"))
    assert 0 < (thin > 40).mean() < (soft > 40).mean()


@pytest.mark.parametrize(
    "sizes", [{"detect_resolution": 128}, {"image_resolution": 128}, {"detect_resolution": 64, "image_resolution": 192}]
)
def test_lines_and_levels_stay_what_they_are_at_any_size(detector, photo, sizes):
    for black_and_white in ({"scribble": True}, {"kind": "binary"}):
        assert set(np.unique(detector(photo, **black_and_white, **sizes))) == {0, 255}
    assert set(np.unique(detector(photo, safe=True, **sizes))) <= {0, 128, 255}
    line = np.asarray(detector(photo, kind="thin", **sizes))[..., 0] > 0
    square = line[1:, 1:] & line[1:, :-1] & line[:-1, 1:] & line[:-1, :-1]
    assert line.any() and square.sum() < 0.03 * line.sum()


def test_what_makes_no_sense_is_said(detector, photo):
    with pytest.raises(SettingsError, match="leave filename and cache_dir out"):
        TracedgeDetector.from_pretrained("mini", filename="ControlNetHED.pth")
    for wrong in ({"output_type": "torch"}, {"kind": "thick"}, {"image_resolution": 10}):
        with pytest.raises(SettingsError):
            detector(photo, **wrong)


def test_it_moves_to_a_device_and_stays_where_it_is(detector):
    before = detector.predictor
    assert detector.to("cpu") is detector and detector.predictor is before
    with pytest.raises(SettingsError, match="load that one with device="):
        TracedgeDetector(before).to("cuda")


def test_another_gpu_is_another_device(monkeypatch):
    loaded = []
    on_first = SimpleNamespace(device=torch.device("cuda:0"))
    monkeypatch.setattr(EdgePredictor, "from_pretrained", lambda name, device: loaded.append((name, device)))
    detector = TracedgeDetector(on_first, reload={"name": "mini", "device": "cuda:0"})
    assert detector.to("cuda:0").predictor is detector.to("cuda").predictor is on_first and not loaded
    detector.to("cuda:1")
    assert loaded == [("mini", "cuda:1")] and detector.predictor is not on_first
