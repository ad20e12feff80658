"""Fetching MovieLens, from a server on this machine: the digest decides, whoever serves the file."""

import hashlib
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import typer
from typer.testing import CliRunner

from candidates.benchmarks.cli import add_commands
from candidates.errors import CandidatesError
from candidates.protocols import movielens
from candidates.protocols.interactions import read_interactions
from data.errors import DataError
from data.public_sets import fetch

app = typer.Typer()
add_commands(app)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The address of an archive whose digest is the one expected of MovieLens-1M."""
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/ratings.dat", "1::5::4::0\n2::5::5::0\n")
    digest = hashlib.sha256((served / "ml-1m.zip").read_bytes()).hexdigest()
    changed = replace(movielens.RELEASES["movielens-1m"], sha256=digest)
    monkeypatch.setitem(movielens.RELEASES, "movielens-1m", changed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/ml-1m.zip"
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_was_fetched_is_read(mirror, tmp_path):
    answer = CliRunner().invoke(
        app, ["movielens-download", "movielens-1m", str(tmp_path / "here"), "--accept-terms", "--url", mirror]
    )
    assert answer.exit_code == 0, answer.output
    assert "GroupLens' terms" in answer.output
    assert len(read_interactions(tmp_path / "here" / "ml-1m.zip", above=3.5)) == 2


def test_another_file_under_the_name_is_refused_and_nothing_stays(mirror, tmp_path):
    with zipfile.ZipFile(tmp_path / "served" / "ml-1m.zip", "a") as archive:
        archive.writestr("more.txt", "more")
    with pytest.raises(DataError, match="differs from its checksum"):
        fetch(movielens.RELEASES["movielens-1m"], tmp_path / "here", True, [mirror])
    assert list((tmp_path / "here").iterdir()) == []


def test_nothing_is_fetched_before_the_terms_are_accepted(mirror, tmp_path):
    answer = CliRunner().invoke(app, ["movielens-download", "movielens-1m", str(tmp_path / "here"), "--url", mirror])
    assert isinstance(answer.exception, DataError) and "the terms have not been accepted" in str(answer.exception)
    assert not (tmp_path / "here").exists()


def test_an_unknown_release_is_told(tmp_path):
    answer = CliRunner().invoke(app, ["movielens-download", "movielens-5m", str(tmp_path), "--accept-terms"])
    with pytest.raises(CandidatesError, match="expected movielens-1m or movielens-20m"):
        raise answer.exception
