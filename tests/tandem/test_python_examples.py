"""The examples of docs/python.md and README.md run, in order, on a small workspace; every public name can be used."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tandem
from tandem.cli import app
from tests.support.gateway.gateway_process import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained workspace named shop."""
    folder = tmp_path_factory.mktemp("examples")
    for words in (["data", "simulate", "-w", "shop", "--preset", "small"], ["train", "-w", "shop"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def address(shop: Path) -> Iterator[str]:
    """Where a gateway serves the shop."""
    port = free_port()
    words = [sys.executable, "-m", "tandem", "gateway", "serve", "-w", "shop", "--port", str(port), "--workers", "1"]
    gateway = subprocess.Popen(words, cwd=shop, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    try:
        with tandem.GatewayClient(f"127.0.0.1:{port}") as client:
            client.wait_until_ready(60)
        yield f"127.0.0.1:{port}"
    finally:
        gateway.terminate()
        gateway.communicate(timeout=30)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "least"), [("docs/python.md", 6), ("README.md", 1)])
def test_the_python_examples_of_a_page_run(
    shop: Path, address: str, monkeypatch: pytest.MonkeyPatch, page: str, least: int
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    assert len(blocks) >= least
    monkeypatch.chdir(shop)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block.replace("127.0.0.1:50051", address), page, "exec"), names)  # noqa: S102


def test_every_public_name_can_be_used_and_is_typed() -> None:
    typed = set(re.findall(r"^    from \S+ import (\w+) as \1$", Path(tandem.__file__).read_text(), re.M))
    assert typed == set(tandem.__all__)
    assert [name for name in tandem.__all__ if getattr(tandem, name) is None] == []
    with pytest.raises(AttributeError, match="no attribute 'Nothing'; it has Autoencoder"):
        _ = tandem.Nothing
