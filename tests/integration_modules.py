"""The files of integrations/, which is no package: loaded by their paths, as the programs that use them do."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1] / "integrations"


def load(path: str, name: str) -> ModuleType:
    """A file of integrations/ as a module; a package is named by its __init__.py."""
    file = ROOT / path
    folders = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as importing does; a package needs it for its own parts
    spec.loader.exec_module(module)
    return module
