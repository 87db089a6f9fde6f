"""The same work on the processes of a Ray cluster. Nothing else knows Ray.

Each worker holds the model, reads its parts of the input, writes the outputs into the output folder, which all of them must
see, and tells what became of each image; no picture travels. The driver alone holds the folder's lock and writes its manifest.

    cluster.py   the processes: where they run, how many, how they start and end
    shares.py    what a worker takes at a time, and what is known of it when a worker dies with it
    worker.py    what each of them does: a share after the other, told in messages
    engine.py    what the driver does: it hands shares out, and again if a worker dies
"""

from tracedge.scale.cluster import Cluster
from tracedge.scale.engine import RayEngine

__all__ = ["Cluster", "RayEngine"]
