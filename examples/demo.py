"""The main job on a real photo, offline: scikit-image's coins, whose objects nearly touch.

python examples/demo.py OUTPUT_FOLDER
"""

import sys
import time
from pathlib import Path

import skimage.data
from PIL import Image

import tracedge
from tracedge.export.png import write_png8, write_png16
from tracedge.segmentation import segment
from tracedge.visualize import attention_colours, instances_overlay, overlay

output = Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")
output.mkdir(parents=True, exist_ok=True)
photo = output / "coins.png"
Image.fromarray(skimage.data.coins()).save(photo)

started = time.perf_counter()
predictor = tracedge.EdgePredictor.from_pretrained("mini")
found = predictor(photo)
seconds = time.perf_counter() - started

image = tracedge.load_image(photo)
write_png16(output / "coins.edges.png", found.edges)
write_png8(output / "coins.overlay.png", overlay(image, found.edges))
instances = segment(found)  # closed regions of the edges that look like objects
write_png8(output / "coins.instances.overlay.png", instances_overlay(image, instances))
_, attention, grid_hw = next(tracedge.EdgeTeacher("mini").curve_maps(photo))  # the first step: the clean picture
write_png8(output / "coins.attention.png", attention_colours(attention, grid_hw, found.shape))

print(f"Instance edges of {photo}, in {seconds:.1f} s with loading:")
print(f"  {output / 'coins.edges.png'}      16-bit grey, {found.shape[1]} x {found.shape[0]}, the photo's own size")
print(f"  {output / 'coins.overlay.png'}    the edges over the photo")
print(f"  {output / 'coins.instances.overlay.png'}  {len(instances)} instances, each with its number")
print(f"  {output / 'coins.attention.png'}  self-attention: tokens that attend alike have one colour")
