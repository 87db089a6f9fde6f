"""One step instead of ten: the teacher's edges, distilled into LoRA weights and a small edge decoder (paper, 3.4)."""
