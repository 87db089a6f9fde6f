"""Masks to refine: from token features (MaskCut, ProMerge), from edges alone, or from files."""
