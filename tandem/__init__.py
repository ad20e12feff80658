"""Tandem's public names, each loaded when it is first used: `import tandem` itself costs milliseconds."""

from importlib import import_module
from typing import Any

_HOMES = {"main": "tandem.cli"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tandem' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
