"""`tandem data criteo`, `criteo-made-up` and `criteo-download`, the last one from a server on this machine."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from typer.testing import CliRunner

from data.cli import app
from data.criteo.dataset import CriteoDataset
from data.download import download
from data.errors import DataError

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server(ThreadingHTTPServer):
    """Serves `content` under any path, with ranges; ends the connection after `breaks_after` bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag, self.breaks_after, self.ranges = CONTENT, '"one"', None, []
        self.headers = {}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        if self.path.endswith("gone"):
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        server.ranges.append(first)
        if first and self.headers.get("If-Range") != server.tag:
            first = 0
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(server.content) - first))
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        until = len(server.content) if server.breaks_after is None else first + server.breaks_after
        self.wfile.write(server.content[first:until])
        self.close_connection = True

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def url_of(server: Server, name: str = "day_0.gz") -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}"


def test_a_file_comes_whole_with_its_digest_beside_it(server, tmp_path):
    told = []
    path = download(url_of(server), tmp_path, advance=told.append)
    assert path.read_bytes() == CONTENT and sum(told) == len(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "day_0.gz.sha256").read_text() == f"{digest}  day_0.gz\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["day_0.gz", "day_0.gz.sha256"]
    download(url_of(server), tmp_path)
    assert server.ranges == [0]  # what is there is checked, not fetched again
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match="differs from its SHA-256"):
        download(url_of(server), tmp_path)


def test_a_broken_connection_goes_on_where_it_stopped(server, tmp_path):
    server.breaks_after = 1_200_000
    with pytest.raises(DataError, match="repeat the command to go on"):
        download(url_of(server), tmp_path)
    assert not (tmp_path / "day_0.gz").exists()
    have = (tmp_path / "day_0.gz.part").stat().st_size
    server.breaks_after = None
    told = []
    assert download(url_of(server), tmp_path, advance=told.append).read_bytes() == CONTENT
    assert 0 < have == server.ranges[1] == told[0]


def test_another_file_at_the_same_address_is_fetched_from_its_beginning(server, tmp_path):
    server.breaks_after = 1_200_000
    with pytest.raises(DataError):
        download(url_of(server), tmp_path)
    server.breaks_after, server.tag, server.content = None, '"two"', CONTENT[::-1]
    assert download(url_of(server), tmp_path).read_bytes() == CONTENT[::-1]


def test_a_file_that_differs_from_its_checksum_is_not_kept(server, tmp_path):
    with pytest.raises(DataError, match="differs from its checksum"):
        download(url_of(server), tmp_path, sha256="0" * 64)
    assert not list(tmp_path.glob("day_0.gz*"))
    md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    server.headers = {"x-goog-hash": f"crc32c=AAAAAA==,md5={md5}"}
    assert download(url_of(server), tmp_path).exists()
    (tmp_path / "day_0.gz").unlink()
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DataError, match="differs from its checksum"):
        download(url_of(server), tmp_path)


def test_a_server_that_refuses_or_is_not_there_is_one_sentence(server, tmp_path):
    with pytest.raises(DataError, match="the server answered 404"):
        download(url_of(server, "gone"), tmp_path)
    with pytest.raises(DataError, match="the connection failed"):
        download("http://127.0.0.1:1/day_0.gz", tmp_path)
    with pytest.raises(DataError, match="expected an http or https address"):
        download("file:///etc/hostname", tmp_path)


def test_nothing_is_fetched_before_the_terms_are_accepted(server, tmp_path):
    arguments = ["criteo-download", "terabyte", str(tmp_path / "in"), "--url", url_of(server)]
    answer = CliRunner().invoke(app, arguments)
    assert isinstance(answer.exception, DataError) and "the terms have not been accepted" in str(answer.exception)
    assert "non-commercial" in answer.output and server.ranges == [] and not (tmp_path / "in").exists()
    answer = CliRunner().invoke(app, [*arguments, "--accept-terms"], catch_exceptions=False)
    assert answer.exit_code == 0 and (tmp_path / "in" / "day_0.gz").read_bytes() == CONTENT


def test_made_up_rows_convert_from_the_command_line(tmp_path):
    source, output, figures = tmp_path / "made.gz", tmp_path / "out", tmp_path / "figures.json"
    made = CliRunner().invoke(app, ["criteo-made-up", "1000", str(source)], catch_exceptions=False)
    assert made.exit_code == 0
    options = ["--split", "chronological", "--fractions", "0.5,0.25,0.25", "--threshold", "2", "--processes", "1"]
    answer = CliRunner().invoke(
        app, ["criteo", str(source), "-o", str(output), *options, "--json", str(figures)], catch_exceptions=False
    )
    assert answer.exit_code == 0 and "1,000 rows" in answer.output
    assert [len(CriteoDataset.open(output).split(name)) for name in ("train", "validation", "test")] == [500, 250, 250]
    found = json.loads(figures.read_text())["figures"]
    assert found["rows"] == 1000 and found["manifest"]["splits"]["train"]["rows"] == 500


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--fractions", "0.5,0.5"], "expected three numbers"),
        (["--split", "chronological", "--fractions", "0.5,0.5,0.5"], "add up to 1"),
        (["--split", "chronological", "--fractions", "nan,0.5,0.5"], "add up to 1"),
        (["--split", "chronological", "--fractions", "0,0.5,0.5"], "leave none for the train split"),
        (["--split", "last-file"], "expected at least two files"),
    ],
)
def test_wrong_options_are_one_sentence(tmp_path, options, expected):
    (tmp_path / "train.txt").write_text(("0" + "\t" * 39 + "\n") * 20)
    answer = CliRunner().invoke(app, ["criteo", str(tmp_path / "train.txt"), "-o", str(tmp_path / "out"), *options])
    assert isinstance(answer.exception, DataError) and expected in str(answer.exception)
    assert [one.name for one in tmp_path.iterdir()] == ["train.txt"]
