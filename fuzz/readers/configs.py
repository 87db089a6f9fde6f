"""Settings of trainings, as TOML."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from fuzz.containers import damaged_text
from fuzz.contract import Reader
from tracedge.detector.config import DetectorConfig
from tracedge.pretraining import PretrainConfig, config_from_dict
from tracedge.schedule import share_at
from tracedge.settings import from_table, of_file, read_toml
from tracedge.student.config import DistillConfig

_CONFIGS = Path(__file__).parents[2] / "configs"


def _plain(config: object) -> bytes:
    """Every setting with its default, a line each."""
    said = asdict(config).items()  # type: ignore[call-overload]
    return "\n".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for name, value in said
    ).encode()


def _check_rate(steps: int, warmup: int, cooldown: float) -> None:
    assert steps > 0 and all(
        0 < share_at(step, steps, warmup=warmup, cooldown=cooldown) <= 1 for step in (0, steps - 1)
    )


def _distill(path: Path) -> None:
    with of_file(path):
        found = from_table(DistillConfig, read_toml(path))
    _check_rate(found.steps, found.warmup, found.cooldown)


def _detector(path: Path) -> None:
    with of_file(path):
        found = from_table(DetectorConfig, read_toml(path))
    _check_rate(found.steps, found.warmup, found.cooldown)


def _pretrain(path: Path) -> None:
    with of_file(path):
        found = config_from_dict(read_toml(path))
    assert (
        isinstance(found, PretrainConfig)
        and 0 <= found.rate_at(0) <= found.learning_rate
        and found.stage_at(0).px >= 16
    )
    assert found.model.width % found.model.heads == 0 and found.steps > 0


READERS = [
    Reader("distill config", "distill.toml", lambda: [_plain(DistillConfig())], damaged_text, _distill),
    Reader(
        "detector config",
        "detector.toml",
        lambda: [_plain(DetectorConfig()), (_CONFIGS / "detector.toml").read_bytes()],
        damaged_text,
        _detector,
    ),
    Reader("pretrain config", "mini.toml", lambda: [(_CONFIGS / "mini.toml").read_bytes()], damaged_text, _pretrain),
]
