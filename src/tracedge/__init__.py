"""tracedge: instance edges read out of the self-attention of diffusion models, with no labels."""

__version__ = "0.1.0"
