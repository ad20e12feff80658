"""The wire format: the committed Python is what the .proto files say."""

from pathlib import Path

import grpc_tools
import pytest
from grpc_tools import protoc

ROOT = Path(__file__).parents[3]
SOURCES = ("proto/tandem/v1/tandem.proto", "proto/tandem/v1/log.proto")


def test_the_generated_code_is_what_the_proto_files_say(tmp_path: Path) -> None:
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    out = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    assert protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *out, *(str(ROOT / one) for one in SOURCES)]) == 0
    for name in ("tandem_pb2.py", "tandem_pb2.pyi", "tandem_pb2_grpc.py", "log_pb2.py", "log_pb2.pyi"):
        if (tmp_path / "proto/tandem/v1" / name).read_text() != (ROOT / "proto/tandem/v1" / name).read_text():
            pytest.fail(f"proto/tandem/v1/{name} is out of date; `make proto` writes it anew")
