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

Each message is one sentence or two: what was expected, what came, how to mend it.
"""


class TracedgeError(Exception):
    """The root: catch this to catch everything raised on purpose."""


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
