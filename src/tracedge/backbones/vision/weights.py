"""From a model's files to a network of transformers: safetensors only, weights checked, without notes or progress bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tracedge.backbones.vision.files import VisionFiles
from tracedge.errors import BackboneError
from tracedge.tensors import UNFIT


def load_network(kind: str, files: VisionFiles, what: str, *, new: tuple[str, ...] = (), **options: Any) -> Any:
    """A class of transformers with the weights of its files.

    Args:
        kind: the name of the class. files: config and weights.
        what: what it is, for messages: "a vision transformer".
        new: how the names of weights begin that the files need not have; they are drawn.
        options: of from_pretrained.

    Raises:
        BackboneError: it cannot be loaded, or its weights do not fit its config.
    """
    import transformers
    from huggingface_hub.errors import StrictDataclassError  # a value in the config that is not of its type

    try:
        with without_notes():
            network, report = getattr(transformers, kind).from_pretrained(
                files.folder, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
            )
    except (*UNFIT, StrictDataclassError) as error:
        sentence = " ".join(str(error).split())
        raise BackboneError(f"{files.source} cannot be loaded as {what}: {sentence}") from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(new or ("\0",)))
    wrong = {"missing_keys": missing, "mismatched_keys": sorted(report["mismatched_keys"])}
    if any(wrong.values()):
        raise BackboneError(
            f"{files.source}: the weights do not fit their config: { {key: keys for key, keys in wrong.items() if keys} }"
        )
    return network


@contextmanager
def without_notes() -> Iterator[None]:
    """transformers lists tensors it does not need, and draws a bar; what matters is checked by the caller."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
