"""`pip install ./gateway/client`: a small package, gRPC and protobuf alone, that asks a gateway as Tandem does."""

import ast
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.gateway.gateway_process import GatewayProcess

ROOT = Path(__file__).parents[3]
ALLOWED = {"tandem-client", "grpcio", "grpcio-status", "protobuf", "googleapis-common-protos", "typing_extensions"}
WITHOUT_AN_INDEX = ("No matching distribution found", "Could not find a version", "Connection", "timed out", "SSLError")
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

ASK = """
import json, sys
from tandem_client import GatewayClient, RefusalError, history_of, pb

with GatewayClient(sys.argv[1], timeout=10) as client:
    context = pb.Context(user_id="u1", merchant_id="books", country="FR", history=history_of(["books-001"]))
    slots = [slot.item_id for slot in client.get_banner(context, 3, preview=True).slots]
    try:
        client.get_banner(context, 0)
    except RefusalError as refusal:
        reason = refusal.reason
heavy = [name for name in ("numpy", "torch", "hnswlib", "pyarrow", "gateway", "data") if name in sys.modules]
print(json.dumps([slots, reason, heavy]))
"""


def _pip(python: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(python), "-m", "pip", *arguments, "--quiet", "--retries", "0", "--timeout", "10"]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=_ENVIRONMENT)


@pytest.mark.slow
def test_the_client_alone_asks_a_gateway_from_an_empty_environment(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    before = sorted(path.name for path in (ROOT / "gateway/client").iterdir())
    try:
        done = _pip(python, "install", str(ROOT / "gateway" / "client"))
    except subprocess.TimeoutExpired:
        pytest.skip("no package index answers in time, so nothing can be installed")
    if done.returncode and any(word in done.stderr for word in WITHOUT_AN_INDEX):
        pytest.skip("no package index answers, so nothing can be installed")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (ROOT / "gateway/client").iterdir()) == before  # the build leaves nothing
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, env=_ENVIRONMENT
    )
    found = {line.split("==")[0] for line in listed.stdout.split()} - {"pip", "setuptools"}
    assert "tandem-client" in found and found <= ALLOWED
    with GatewayProcess(tmp_path / "w", workers=1) as running:
        asked = subprocess.run(
            [python, "-c", ASK, running.address], cwd=tmp_path, capture_output=True, text=True, env=_ENVIRONMENT
        )
    assert asked.returncode == 0, asked.stderr
    slots, reason, heavy = ast.literal_eval(asked.stdout)
    assert len(slots) == 3 and reason == "INVALID_FIELD" and heavy == []


def test_the_client_imports_nothing_beyond_what_its_package_holds(tmp_path: Path) -> None:
    """The same without an index: the renamed files, imported where Tandem is not, beside this environment's gRPC."""
    code = f"""
import sys, types
from pathlib import Path
sys.path[:] = [one for one in sys.path if one.startswith(sys.base_prefix)] + [{sysconfig.get_path("purelib")!r}]
hook = types.ModuleType("interface")
hook.BuildHookInterface = object
sys.modules["hatchling.builders.hooks.plugin.interface"] = hook
build = {{"__file__": {str(ROOT / "gateway/client/hatch_build.py")!r}}}
exec(Path(build["__file__"]).read_text(), build)
build["write_package"](Path("tandem_client"))
sys.path[:0] = [str(Path.cwd())]
sys.meta_path[:] = [one for one in sys.meta_path if "editable" not in repr(one)]
import tandem_client
ours = {{"gateway", "data", "proto", "candidates", "ranker", "numpy", "torch"}} & set(sys.modules)
print(tandem_client.GatewayClient("127.0.0.1:1").address, ours or "alone")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=_ENVIRONMENT)
    assert done.stdout == "127.0.0.1:1 alone\n", done.stderr
