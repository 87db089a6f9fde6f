"""Every error that tracedge raises on purpose.

    TracedgeError
    ├── SettingsError (ValueError)      a parameter, a config file or a combination of options that makes no sense
    ├── ImageError (ValueError)         a picture that cannot be read, or not safely
    │   └── TooManyPixelsError          more than the limit that was given
    ├── DataError (ValueError)          a data set, a folder or a prediction file that is not as it should be
    ├── CheckpointError (ValueError)    weights that are not what their config says
    ├── RecordingError (RuntimeError)   the attention seen is not the attention of the model
    ├── BackboneError (RuntimeError)    a model that cannot be loaded
    │   └── GatedModelError             its page must be accepted first
    ├── TrainingError (FloatingPointError)  a training whose loss is no longer finite
    ├── RunError (RuntimeError)         a folder run that must not go on: mixed settings, colliding names
    └── MissingExtraError (ImportError) an optional dependency that is not installed

Each message is one sentence or two: what was expected, what came, how to mend it. It may quote what a file says; so, whatever
that is, each argument of an error is one line of at most `MAX_MESSAGE` characters that can be printed. Several are several lines.
"""

MAX_MESSAGE = 2000


class TracedgeError(Exception):
    """The root: catch this to catch everything raised on purpose."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(_one_line(str(each)) for each in arguments))

    def __str__(self) -> str:
        return "\n".join(self.args)


class SettingsError(TracedgeError, ValueError):
    """A parameter, a config file or a combination of options that makes no sense."""


class ImageError(TracedgeError, ValueError):
    """A picture that cannot be read, or not safely."""


class TooManyPixelsError(ImageError):
    """A picture of more pixels than the limit that was given: another limit may let it in."""


class DataError(TracedgeError, ValueError):
    """A data set, a folder or a prediction file that is not as it should be."""


class CheckpointError(TracedgeError, ValueError):
    """Weights that are not what their config says."""


class RecordingError(TracedgeError, RuntimeError):
    """The attention seen is not the attention of the model."""


class BackboneError(TracedgeError, RuntimeError):
    """A model that cannot be loaded."""


class GatedModelError(BackboneError):
    """A model whose page must be accepted before it can be downloaded."""


class TrainingError(TracedgeError, FloatingPointError):
    """A training whose loss is no longer finite; the last checkpoint is kept."""


class RunError(TracedgeError, RuntimeError):
    """A folder run that must not go on: mixed settings, colliding names."""


class MissingExtraError(TracedgeError, ImportError):
    """An optional dependency that is not installed; the message carries the pip line."""


def _one_line(message: str) -> str:
    """Spaces for line breaks, escapes for what cannot be printed, and the middle left out of what is too long."""
    line = " ".join(message.splitlines())
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in line)
    if len(line) <= MAX_MESSAGE:
        return line
    kept = (MAX_MESSAGE - 5) // 2
    return f"{line[:kept]} ... {line[-kept:]}"
