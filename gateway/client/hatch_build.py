"""The build of the client alone: Tandem's own files, under the package's names.

They are copied as the wheel is built, so that there is one of each in the repository, and `gateway`, `data` and
`proto`, which are common words, are no names of packages in the environment of whoever installs the client.
"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parents[2]
FILES = {
    "gateway/client/__init__.py": "__init__.py",
    "gateway/client/gateway_client.py": "gateway_client.py",
    "gateway/errors.py": "errors.py",
    "gateway/wire.py": "wire.py",
    "data/errors.py": "tandem_errors.py",
    "proto/tandem/v1/__init__.py": "v1/__init__.py",
    "proto/tandem/v1/tandem_pb2.py": "v1/tandem_pb2.py",
    "proto/tandem/v1/tandem_pb2.pyi": "v1/tandem_pb2.pyi",
    "proto/tandem/v1/tandem_pb2_grpc.py": "v1/tandem_pb2_grpc.py",
}
NAMES = {
    "gateway.client": "tandem_client",
    "gateway.errors": "tandem_client.errors",
    "gateway.wire": "tandem_client.wire",
    "data.errors": "tandem_client.tandem_errors",
    "proto.tandem.v1": "tandem_client.v1",
}


class ClientAlone(BuildHookInterface):
    """Hands hatchling the renamed files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._folder = TemporaryDirectory(prefix="tandem-client-")
        write_package(Path(self._folder.name))
        build_data["force_include"][self._folder.name] = "tandem_client"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._folder.cleanup()


def write_package(folder: Path) -> None:
    """The package's files, every import by its new name."""
    dotted = re.compile(rf"\b({'|'.join(map(re.escape, NAMES))})\b")
    for source, target in FILES.items():
        text = (ROOT / source).read_text("utf-8")
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (folder / target).write_text(dotted.sub(lambda found: NAMES[found[0]], text), "utf-8")
    (folder / "py.typed").touch()
