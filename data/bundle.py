"""Bundles: immutable directories with everything the gateway needs, one per version, sealed by a manifest of digests.

bundles/<version>/manifest.json   format, version, time, git revision, origin, metrics, SHA-256 of every file
bundles/<version>/catalog/        the item table
bundles/<version>/candidates/     what stage one's sources load
bundles/<version>/ranker/         what stage two's scorer loads
bundles/current                   a link to the version in service, replaced atomically
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.contents import Contents
from data.errors import DataError
from data.files import sha256_of, sha256_of_json, temporary_beside, write_text_atomically
from data.history import Why, remember
from data.locks import lock_if_free
from data.settings import read_json
from data.workspace import Origin, Workspace, writing

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")
_VERSION_SECONDS = 1.0
FORMAT_VERSION = 1
PARTS = ("catalog", "candidates", "ranker")


@dataclass(frozen=True)
class Bundle:
    """A sealed bundle on disk. `metrics` holds each part's offline figures, measured index recall among them."""

    path: Path
    version: str
    created: float  # Unix seconds
    git_revision: str
    origin: Origin
    metrics: dict[str, Any]
    files: dict[str, str]  # path inside the bundle -> SHA-256

    @property
    def catalog(self) -> Path:
        return self.path / "catalog"

    @property
    def candidates(self) -> Path:
        return self.path / "candidates"

    @property
    def ranker(self) -> Path:
        return self.path / "ranker"

    def has(self, part: str) -> bool:
        return any(name.startswith(f"{part}/") for name in self.files)

    @classmethod
    def open(cls, path: Path | str, verify: bool = True) -> "Bundle":
        """Read a bundle's manifest (following `current`), and check every file's digest unless told not to.

        Raises:
            DataError: no bundle there, an unknown format, or a file missing, added or changed since it was sealed.
        """
        path = followed(path)
        manifest = path / "manifest.json"
        missing = f"{path} is not a bundle: expected manifest.json in it; `tandem train` writes one"
        found = read_json(manifest, dict[str, Any], missing=missing)
        if found.get("format_version") != FORMAT_VERSION:
            raise DataError(f"{manifest}: expected format_version {FORMAT_VERSION}; this Tandem reads no other")
        if found.pop("manifest_sha256", None) != sha256_of_json(found):
            raise DataError(f"{manifest} differs from its own digest; it was changed since it was sealed")
        version = found.get("version")
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise DataError(f"{manifest}: expected a version that is a name of a folder, found {version!r:.100}")
        try:
            bundle = cls(
                path=path,
                version=version,
                created=found["created"],
                git_revision=found["git_revision"],
                origin=Origin(**found["origin"]),
                metrics=found["metrics"],
                files=found["files"],
            )
        except (KeyError, TypeError) as error:
            raise DataError(f"{manifest}: expected the fields of a manifest, found {error}") from None
        if verify:
            bundle.verify()
        return bundle

    def verify(self) -> None:
        """Check every file against its digest. Raises DataError naming the first that differs."""
        for found in self.path.rglob("*"):
            if found.is_symlink():
                name = _inside(self.path, found)
                raise DataError(f"bundle {self.version}: {name} is a link; expected a file or folder of its own")
        present = {_inside(self.path, file) for file in _files_under(self.path)} - {"manifest.json"}
        for name in sorted(self.files.keys() | present):
            if name not in self.files:
                raise DataError(f"bundle {self.version}: {name} is not in its manifest")
            if name not in present:
                raise DataError(f"bundle {self.version}: {name} is missing")
            if sha256_of(self.path / name) != self.files[name]:
                expected = f"expected {self.files[name][:12]}…"
                raise DataError(f"bundle {self.version}: {name} differs from its SHA-256 in the manifest; {expected}")


def followed(path: Path | str) -> Path:
    """What a link such as `current` leads to, whether it is there or not; a link that leads to itself is no bundle."""
    return Path(os.path.realpath(path))


class BundleDraft:
    """A bundle being written. Use as a context manager: left without `seal`, nothing of it remains.

    Its writer holds a lock on the folder for as long as it lives, so that what a killed one left can be told apart.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.metrics: dict[str, Any] = {}
        self.path = workspace.bundles / f".draft-{os.getpid()}-{time.time_ns()}"
        self._lock = -1

    def __enter__(self) -> "BundleDraft":
        held = None
        while held is None:  # a sweep may take a folder away before we hold its lock
            self.path.mkdir(parents=True, exist_ok=True)
            held = lock_if_free(self.path)
        self._lock = held
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def folder(self, part: str) -> Path:
        """The (new or existing) folder of a part."""
        folder = self.path / part
        folder.mkdir(exist_ok=True)
        return folder

    def take(self, bundle: Bundle, parts: Sequence[str]) -> None:
        """Carry parts over from a sealed bundle, sharing their bytes on disk, with their metrics."""
        for part in parts:
            shutil.copytree(bundle.path / part, self.path / part, copy_function=os.link)
            if part in bundle.metrics:
                self.metrics[part] = bundle.metrics[part]

    def seal(self) -> Bundle:
        """Give the bundle its version and its final place. It is not in service until `publish`.

        The same bytes and metrics, sealed within the same second, are the same bundle.
        """
        files = {_inside(self.path, file): sha256_of(file) for file in _files_under(self.path)}
        metrics = json.loads(json.dumps(self.metrics))  # as it will be read: keys are strings, and sort as strings
        while True:
            version = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{sha256_of_json(files)[:8]}"
            final = self._workspace.bundles / version
            if not final.exists():
                break
            if (there := Bundle.open(final, verify=False)).metrics == metrics:
                return there
            time.sleep(_VERSION_SECONDS / 4)  # of the same bytes with other metrics: the next second is another version
        manifest = {
            "format_version": FORMAT_VERSION,
            "version": version,
            "created": time.time(),
            "git_revision": _git_revision(),
            "origin": vars(self._workspace.origin()),
            "metrics": metrics,
            "files": files,
        }
        manifest["manifest_sha256"] = sha256_of_json(manifest)
        write_text_atomically(self.path / "manifest.json", json.dumps(manifest, indent=2, sort_keys=True) + "\n")
        self.path.rename(final)
        return Bundle.open(final, verify=False)


def sweep_drafts(workspace: Workspace) -> int:
    """Remove the drafts whose writers were killed, and say how many there were. Those being written stay."""
    swept = 0
    for path in workspace.bundles.glob(".draft-*"):
        held = lock_if_free(path)
        if held is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)
            swept += 1
    return swept


def in_service(workspace: Workspace) -> Bundle | None:
    """The bundle that `current` names; None if there is none yet. Raises DataError if it is damaged."""
    return Bundle.open(workspace.current, verify=False) if workspace.current.exists() else None


def publish(workspace: Workspace, bundle: Bundle, instead_of: Bundle | None = None, allow: bool = False) -> None:
    """Put a sealed bundle into service: `current` names it from one instant to the next.

    Args:
        instead_of: what the bundle was made from, and is to replace.
        allow: publish even what is poorer than the bundle in service.

    Raises:
        DataError: another bundle than `instead_of` is in service, or the new one is poorer (`refuse_poorer`).
    """
    with writing(workspace):
        found = followed(workspace.current).name
        if instead_of is not None and found != instead_of.version:
            raise DataError(
                f"bundle {found} came into service meanwhile; expected {instead_of.version}, which {bundle.version} "
                "was made from: it is not published"
            )
        if not allow:
            refuse_poorer(workspace, bundle)
        put_into_service(workspace, bundle, "published")


def refuse_poorer(workspace: Workspace, bundle: Bundle) -> None:
    """Raises DataError if the bundle lacks what the one in service has: a part, a source, a country, a merchant, or
    many of its available items. A bundle in service that cannot be read is compared with nothing."""
    try:
        before = in_service(workspace)
    except DataError:
        return
    if before is None:
        return
    lost = lost_in(before, bundle)
    if lost:
        raise DataError(
            f"bundle {bundle.version} is poorer than {before.version}, which stays in service: without "
            f"{', '.join(lost)}; expected as much as there is, or --allow to publish it all the same"
        )


def lost_in(before: Bundle, after: Bundle) -> list[str]:
    """What the later bundle lacks, each in a few words; see `data.contents`."""
    return _contents(before).lost_in(_contents(after))


def _contents(bundle: Bundle) -> Contents:
    return Contents.of({part for part in PARTS if bundle.has(part)}, bundle.metrics, bundle.catalog)


def put_into_service(workspace: Workspace, bundle: Bundle, why: Why, refused: str = "", reason: str = "") -> None:
    """`current` names the bundle, and the history says so (`data.history`); whoever calls it holds the workspace."""
    beside = temporary_beside(workspace.current)
    beside.symlink_to(bundle.version)
    beside.replace(workspace.current)
    remember(workspace, bundle.version, why, refused, reason)


def _files_under(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _inside(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _git_revision() -> str:
    """Of the code that wrote the bundle; "unknown" outside a checkout."""
    answer = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return answer.stdout.strip() or "unknown"
