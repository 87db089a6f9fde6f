"""What the benchmark says of metrics: both are timed on one scene, whose edges differ at every cut."""

import numpy as np

from tracedge.evaluation.mask_timing import drawn_scene, rough_masks
from tracedge.evaluation.metric_timing import time_metrics
from tracedge.metrics.edges import STANDARD, instance_boundaries
from tracedge.rivals.edges import sobel_edges

SMALL_HW = (72, 96)


def test_the_picture_and_its_labels_are_the_scene_of_the_rough_masks():
    image, labels = drawn_scene(SMALL_HW)
    assert image.shape == (*SMALL_HW, 3) and labels.shape == SMALL_HW
    np.testing.assert_array_equal(rough_masks(SMALL_HW)[0], instance_boundaries(labels))


def test_sobel_edges_of_the_scene_differ_at_nearly_every_cut():
    cuts = np.histogram(sobel_edges(drawn_scene(SMALL_HW)[0]), bins=STANDARD.thresholds + 1, range=(0, 1))[0]
    assert (cuts > 0).mean() > 0.9


def test_figures_and_rows_say_the_same():
    timings = time_metrics(1, SMALL_HW)
    for_edges, for_instances = timings.rows.values()
    assert timings.figures["edge_metrics_ms"] == round(for_edges.milliseconds, 1) > 0
    assert timings.figures["instance_metrics_ms"] == round(for_instances.milliseconds, 1) > 0
    assert timings.figures["edge_metrics_peak_mib"] > 0
    assert [name.split(" ")[0] for name in timings.rows] == ["edge", "instance"]
    assert "72 x 96, 99 cuts" in next(iter(timings.rows))
