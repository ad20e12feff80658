"""Every source's files written anew with new items in, from those of the bundle in service."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from candidates.encoder import read_json
from candidates.errors import CandidatesError
from candidates.new_items.basis import Extension
from candidates.new_items.cbo_extension import extend_cbo
from candidates.new_items.led_extension import extend_led


def extend_gbo(old: Path, new: Path, extension: Extension) -> dict[str, Any]:
    extension.best_of().save(new / "gbo")
    return {}


EXTENSIONS: dict[str, Callable[[Path, Path, Extension], dict[str, Any]]] = {
    "gbo": extend_gbo,
    "cbo": extend_cbo,
    "led": extend_led,
}


def extend_sources(old: Path, new: Path, extension: Extension) -> dict[str, Any]:
    """Every source of the candidates part `old` written into the empty folder `new`.

    Raises:
        CandidatesError: a source that can only be trained.
    """
    config = read_json(old / "config.json")
    for name in config["sources"]:
        if name not in EXTENSIONS:
            raise CandidatesError(
                f"source {name!r} takes new items only by training; `tandem candidates train` does it"
            )
        (new / name).mkdir()
    shutil.copy(old / "config.json", new / "config.json")
    return {name: EXTENSIONS[name](old, new, extension) for name in config["sources"]}
