"""Mask2Former, trained on pseudo masks: of instances of any class, or panoptic. Importing this loads no torch."""
