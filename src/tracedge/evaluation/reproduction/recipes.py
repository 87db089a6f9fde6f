"""The paper's tables and ablations as data: each row, what stands for it here, the paper's figures, and what it needs.

Figures are the paper's (TRACE, arXiv 2503.07982, sections 3 and 4), for `reproduce` to set ours beside them.
AP, AR100 and PQ in per cent, ms for an image on one A100.
"""

from __future__ import annotations

from dataclasses import replace

from tracedge.evaluation.reproduction.recipe import STRAIGHT, EdgeSource, Figures, Recipe, Row
from tracedge.settings import choose

_PLAIN_EDGES = EdgeSource("teacher", snap=False)
_STUDENT = EdgeSource("student")


def _in(data: str, columns: tuple[str, ...], *values: float | None) -> dict[str, Figures]:
    return {data: {name: value for name, value in zip(columns, values, strict=True) if value is not None}}


def _everywhere(*pairs: tuple[float | None, float | None] | None) -> dict[str, Figures]:
    """AP and AR100 on VOC 2012, COCO 2014 and COCO 2017."""
    found: dict[str, Figures] = {}
    for data, pair in zip(("voc2012", "coco2014", "coco2017"), pairs, strict=True):
        if pair is not None:
            found |= _in(data, _MASKS, *pair)
    return found


_LINES = ("ODS", "OIS", "clDice")
_MASKS = ("AP", "AR100")
_PQ = ("PQ", "PQ things", "PQ stuff", "SQ", "RQ")

_EDGE_QUALITY = Recipe(
    "how good instance edges are, beside edge detectors",
    "4, instance edges",
    "edges",
    _LINES,
    ("coco2014",),
    (
        Row("Canny", _in("coco2014", _LINES, 0.129, 0.202, 0.134), EdgeSource("canny")),
        Row("Sobel", {}, EdgeSource("sobel")),
        Row("HED", _in("coco2014", _LINES, 0.347, 0.443, 0.446), EdgeSource("files", "hed")),
        Row("PiDiNet", _in("coco2014", _LINES, 0.362, 0.450, 0.574), EdgeSource("files", "pidinet")),
        Row("DiffusionEdge", _in("coco2014", _LINES, 0.428, 0.485, 0.576), EdgeSource("files", "diffusionedge")),
        Row("teacher, argmax", {}, EdgeSource("teacher")),
        Row("teacher, first peak", {}, EdgeSource("teacher", rule="first_peak")),
        Row("TRACE", _in("coco2014", _LINES, 0.889, 0.899, 0.826), _STUDENT),
    ),
)

_IN_BGP = Recipe(
    "what BGP makes of ProMerge's masks with the edges of each detector",
    "4, edges in BGP",
    "instances",
    ("AP", STRAIGHT),
    ("voc2012",),
    (
        Row("none (ProMerge)", _in("voc2012", ("AP",), 5.0), None, "promerge"),
        Row("Canny", _in("voc2012", ("AP",), 1.2), EdgeSource("canny"), "promerge"),
        Row("HED", _in("voc2012", ("AP",), 3.7), EdgeSource("files", "hed"), "promerge"),
        Row("PiDiNet", _in("voc2012", ("AP",), 4.1), EdgeSource("files", "pidinet"), "promerge"),
        Row("DiffusionEdge", _in("voc2012", ("AP",), 4.3), EdgeSource("files", "diffusionedge"), "promerge"),
        Row("teacher, argmax", {}, EdgeSource("teacher"), "promerge"),
        Row("TRACE", _in("voc2012", ("AP",), 9.4), _STUDENT, "promerge"),
    ),
)

_COMPONENTS = Recipe(
    "what each part adds: ABDiv, the emergence point, distillation",
    "4, components",
    "instances",
    ("AP", STRAIGHT),
    ("coco2014",),
    (
        Row("none (ProMerge)", _in("coco2014", ("AP",), 3.1), None, "promerge"),
        Row(
            "ABDiv at a semantic step (t = 0)",
            _in("coco2014", ("AP",), 3.2),
            EdgeSource("teacher", timestep=0),
            "promerge",
        ),
        Row("+ IEP, argmax", _in("coco2014", ("AP",), 4.8), EdgeSource("teacher"), "promerge"),
        Row("+ IEP, first peak", {}, EdgeSource("teacher", rule="first_peak"), "promerge", note="our rule"),
        Row("+ distillation", _in("coco2014", ("AP",), 8.2), _STUDENT, "promerge"),
    ),
)

_UIS = Recipe(
    "unsupervised instance segmentation",
    "4, table of instances",
    "instances",
    _MASKS,
    ("voc2012", "coco2014", "coco2017"),
    (
        Row("MaskCut", _everywhere((5.8, 14.0), (3.0, 6.7), (2.3, 6.5)), None, "maskcut"),
        Row("MaskCut + UnSAM", _everywhere((6.1, 14.5), (3.3, 6.9), (2.5, 6.8)), None, "files maskcut-unsam"),
        Row("MaskCut + TRACE", _everywhere((9.7, 18.4), (7.9, 12.6), (7.5, 9.8)), _STUDENT, "maskcut"),
        Row("ProMerge", _everywhere((5.0, 13.9), (3.1, 7.6), (2.5, 7.5)), None, "promerge"),
        Row("ProMerge + TRACE", _everywhere((9.4, 18.2), (8.2, 13.1), (7.8, 11.2)), _STUDENT, "promerge"),
        Row("CutLER", _everywhere((11.2, 34.2), (8.9, 25.1), (8.7, 24.9)), None, "files cutler"),
        Row("CutLER + CutS3D", _everywhere(None, (10.9, None), (10.7, None)), None, "files cutler-cuts3d"),
        Row("CutLER + TRACE", _everywhere((14.8, 45.3), (13.1, 34.6), (12.8, 33.9)), _STUDENT, "files cutler"),
        Row("ProMerge+", _everywhere((11.1, 33.1), (9.0, 25.3), (8.9, 25.1)), None, "files promerge-plus"),
        Row(
            "ProMerge+ + TRACE", _everywhere((15.0, 43.8), (13.3, 35.1), (13.0, 25.8)), _STUDENT, "files promerge-plus"
        ),
        Row("straight from our edges", {}, _STUDENT, "edges", note="not in the paper"),
    ),
)


def _criterion(name: str, paper: Figures | None = None, note: str = "") -> Row:
    return Row(name, {"voc2012": paper} if paper else {}, EdgeSource("teacher", measure=name), "promerge", note=note)


_CRITERIA = Recipe(
    "how the maps of two steps are compared in the emergence point",
    "3.2, table 4",
    "criteria",
    ("AP", STRAIGHT, "ms"),
    ("voc2012",),
    (
        _criterion("kl", {"AP": 9.4, "ms": 3082}),
        _criterion("jsd", note="the paper: as accurate as kl, more than 60 % slower"),
        _criterion("l1"),
        _criterion("l2", {"AP": 3.8}),
        _criterion("entropy", note="compared in the paper, figure not known to us"),
        _criterion("wasserstein", note="compared in the paper, figure not known to us"),
    ),
    note="AP: ProMerge + BGP on the teacher's edges (the paper's 9.4 is after distillation). ms: the teacher's on one scene.",
)

_TIMESTEPS = Recipe(
    "which step emerges, and what choosing it so costs",
    "3.2, timesteps",
    "timesteps",
    ("ODS", "regret", "mean t"),
    ("coco2014",),
    (
        Row("argmax (the paper's)", {}, choice="rule argmax", note="the paper's example photo: t = 399"),
        Row("first peak (ours)", {}, choice="rule first_peak"),
        Row("bounded", {}, choice="rule bounded"),
        Row("best of each image", {}, choice="per-image best", note="knows the truth"),
    ),
    note="The paper says that the best steps of five backbones agree, and gives no table that we know.",
)


def _vision(label: str, name: str, ap: float, ar: float) -> Row:
    return Row(label, _in("coco2014", _MASKS, ap, ar), EdgeSource("vision", name), "promerge")


def _diffusion(label: str, name: str, ap: float, ar: float) -> Row:
    return Row(label, _in("coco2014", _MASKS, ap, ar), EdgeSource("student", name), "promerge")


_BACKBONES = Recipe(
    "which network the attention is read of",
    "4, backbones",
    "instances",
    (*_MASKS, STRAIGHT),
    ("coco2014",),
    (
        Row("mini, teacher", {}, EdgeSource("teacher", "mini"), "promerge", note="the model in the package"),
        Row("mini", {}, EdgeSource("student", "mini"), "promerge", note="the model in the package"),
        _vision("DINOv2-G, 1.1 B", "dinov2-giant", 2.6, 7.7),
        Row(
            "EVA02-E, 5.0 B",
            _in("coco2014", _MASKS, 3.2, 7.9),
            lacks="a loader of EVA-02, which transformers does not have",
        ),
        _vision("DINOv3, 7 B", "dinov3-vit7b16", 4.3, 8.9),
        Row("LLaVA, 13 B", _in("coco2014", _MASKS, 3.8, 8.4), lacks="a loader of LLaVA"),
        _vision("Qwen2.5-VL, 72 B", "qwen2.5-vl-72b", 4.1, 8.5),
        _diffusion("SD 1.5, 0.8 B", "sd15", 6.8, 11.2),
        _diffusion("PixArt-alpha, 0.6 B", "pixart-alpha", 7.1, 11.8),
        _diffusion("SDXL, 2.5 B", "sdxl", 7.4, 12.3),
        _diffusion("SD 3.5 L, 8.1 B", "sd35-large", 8.2, 13.1),
        _diffusion("FLUX.1, 12 B", "flux-dev", 8.3, 13.4),
    ),
    one_by_one=True,
)

_COST = Recipe(
    "how long an image takes: ten steps against one",
    "3.4, cost",
    "cost",
    ("ms", "times as fast"),
    (),
    (
        Row("teacher as written", _in("", ("ms", "times as fast"), 3682, 1), computed="plain teacher"),
        Row("teacher", {}, computed="teacher", note="the same maps, reduced as they are made"),
        Row("student", _in("", ("ms", "times as fast"), 45, 81), computed="student"),
    ),
    note="A median on one drawn scene, as the model sees it; the paper's are on one A100.",
)


def _learnt(rule: str, snap: bool = False, note: str = "") -> Row:
    return Row(f"student of {rule}", {}, EdgeSource("student", snap=snap, labels=rule), note=note)


_PSEUDO = Recipe(
    "how precise the pseudo labels are, with and without uncertain pixels, and the students that learn them",
    "3.4, pseudo labels",
    "edges",
    ("precision", "recall", "ODS"),
    ("coco2014",),
    (
        Row("the map itself", {}, _PLAIN_EDGES),
        Row(
            "above the mean (halves)",
            _in("coco2014", ("precision",), 0.572),
            replace(_PLAIN_EDGES, labels="halves"),
            note="no pixel is uncertain",
        ),
        Row(
            "above mean + deviation",
            _in("coco2014", ("precision",), 0.852),
            replace(_PLAIN_EDGES, labels="mean_deviation"),
        ),
        Row("placed edges", {}, EdgeSource("teacher"), note="ours: on the picture's contours"),
        Row("placed edges, ridges", {}, EdgeSource("teacher", labels="ridges"), note="our rule"),
        _learnt("halves"),
        _learnt("mean_deviation"),
        _learnt("ridges", snap=True, note="our rule"),
    ),
    note="Precision and recall at the threshold of ODS. The paper says neither on which data, nor how it cuts without its rule.",
)

_DECODER = Recipe(
    "how large the edge decoder has to be",
    "3.4, decoder",
    "decoder size",
    ("MB", "AP", STRAIGHT),
    ("coco2014",),
    (
        Row("width 8", {}, EdgeSource("student", width=8), "promerge"),
        Row("width 16", {}, EdgeSource("student", width=16), "promerge"),
        Row(
            "width 32",
            _in("coco2014", ("MB", "AP"), 0.1, 8.2),
            EdgeSource("student", width=32),
            "promerge",
            note="the paper's size is its own decoder's, a light CNN of about 0.1 MB; ours is another",
        ),
        Row(
            "Mask2Former's decoder",
            _in("coco2014", ("MB", "AP"), 258, 8.4),
            lacks="a student with Mask2Former's decoder",
        ),
    ),
)


def _panoptic(
    label: str,
    voc: tuple[float | None, ...] | None,
    coco: tuple[float | None, ...] | None,
    segments: str,
) -> Row:
    paper: dict[str, Figures] = {}
    for data, values in (("voc2012", voc), ("coco2017", coco)):
        if values is not None:
            paper |= _in(data, _PQ, *values, *[None] * (5 - len(values)))
    return Row(label, paper, segments=segments)


_PANOPTIC = Recipe(
    "weakly-supervised panoptic segmentation",
    "4, table of panoptic segments",
    "panoptic",
    _PQ,
    ("voc2012", "coco2017"),
    (
        _panoptic(
            "Mask2Former, ResNet-50, masks",
            (73.6, 72.6, 93.5, 90.6, 80.5),
            (51.9, 57.7, 43.0),
            "mask2former-r50",
        ),
        _panoptic(
            "Point2Mask, ResNet-50, points",
            (53.8, 51.9, 90.5),
            (32.4, 32.6, 32.2, 75.1, 41.5),
            "point2mask-r50",
        ),
        _panoptic("EPLD, ResNet-50, points", (56.6,), (34.2,), "epld-r50"),
        _panoptic("EPLD, Swin-L, points", (68.5,), (41.0,), "epld-swinl"),
        _panoptic("MARS, ResNet-50, tags", (41.4,), (11.7,), "mars-r50"),
        _panoptic("MARS + TRACE, ResNet-50, tags", (50.4,), (29.5,), "mars-trace-r50"),
        _panoptic("DHR, ResNet-50, tags", (45.0,), (18.3,), "dhr-r50"),
        _panoptic(
            "DHR + TRACE, ResNet-50, tags",
            (56.9, 55.2, 91.0, 88.4, 63.4),
            (32.8, 32.7, 32.9, 75.5, 42.5),
            "dhr-trace-r50",
        ),
        _panoptic(
            "DHR + TRACE, Swin-L, tags",
            (69.8, 68.4, 96.2, 94.5, 71.2),
            (43.1, 42.5, 43.5, 83.8, 55.3),
            "dhr-trace-swinl",
        ),
    ),
    note="Scored from COCO panoptic files given by --files; the package does not make them yet (`tracedge panoptic`).",
)

RECIPES: dict[str, Recipe] = {
    "uis": _UIS,
    "panoptic": _PANOPTIC,
    "edge-quality": _EDGE_QUALITY,
    "edges-in-bgp": _IN_BGP,
    "components": _COMPONENTS,
    "criteria": _CRITERIA,
    "backbones": _BACKBONES,
    "decoder-size": _DECODER,
    "pseudo-labels": _PSEUDO,
    "timesteps": _TIMESTEPS,
    "cost": _COST,
}
"""Every name that `tracedge reproduce` takes."""


def recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        SettingsError: no such name.
    """
    return choose("recipe", name, RECIPES)
