"""The conversion on Spark against the one by processes: the same bytes, the same refusals, the same going on."""

import gzip
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data.cli import app
from data.criteo import local
from data.criteo import spark as on_spark
from data.criteo.convert import convert
from data.criteo.dataset import CriteoDataset
from data.criteo.made_up import write_made_up
from data.criteo.manifest import Options
from data.errors import DataError
from data.processes import WorkerDied
from tests.support.folders import contents

pytestmark = pytest.mark.slow

BLOCK = 1 << 15
OPTIONS = Options(split="chronological", fractions=(0.7, 0.2, 0.1), at_least=3, max_rows=40)
on_two_cores = partial(convert, options=OPTIONS, processes=2, block_bytes=BLOCK, engine="spark")


@pytest.fixture(scope="module")
def sources(tmp_path_factory, connections) -> list[Path]:
    """A plain file and a gzipped one, of several blocks each; and Spark is there."""
    connections("spark")
    folder = tmp_path_factory.mktemp("criteo")
    plain, packed = folder / "day_0", folder / "day_1.gz"
    write_made_up(plain, 600, seed=3)
    write_made_up(packed, 400, seed=4, packed=True)
    return [plain, packed]


@pytest.fixture(scope="module")
def by_processes(sources, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("local") / "out"
    convert(sources, folder, OPTIONS, 1, block_bytes=BLOCK)
    return folder


def killed(*_):
    raise WorkerDied("killed")


def test_killed_and_resumed_spark_writes_the_bytes_that_processes_write(sources, by_processes, tmp_path, monkeypatch):
    with monkeypatch.context() as dying, pytest.raises(WorkerDied):
        dying.setattr(on_spark.SparkEngine, "count", killed)
        on_two_cores(sources, tmp_path / "out")
    monkeypatch.setattr(on_spark.SparkEngine, "parse", killed)  # what is parsed is not parsed again
    manifest = on_two_cores(sources, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(by_processes)
    assert any(feature.hashed for feature in manifest.categorical)
    dataset = CriteoDataset.open(tmp_path / "out", verify=True)
    assert sum(len(dataset.split(name)) for name in ("train", "validation", "test")) == 1000
    assert not (tmp_path / "out.unfinished").exists()


def test_processes_finish_what_spark_began(sources, by_processes, tmp_path, monkeypatch):
    with monkeypatch.context() as dying, pytest.raises(WorkerDied):
        dying.setattr("data.criteo.convert._encode", killed)
        on_two_cores(sources, tmp_path / "out")
    monkeypatch.setattr(local.LocalEngine, "parse", killed)
    monkeypatch.setattr("data.criteo.work.count_feature", killed)
    on_two_cores(sources, tmp_path / "out", engine="local")
    assert contents(tmp_path / "out") == contents(by_processes)


@pytest.mark.parametrize("packed", [False, True])
def test_a_bad_line_is_named_with_its_file_and_nothing_is_left(sources, tmp_path, packed):
    lines = sources[0].read_bytes().splitlines(keepends=True)
    lines[450] = lines[450].replace(b"\n", b"x\n")
    lines[500] = b"rubbish\n"
    bad = tmp_path / ("bad.gz" if packed else "bad.txt")
    bad.write_bytes(gzip.compress(b"".join(lines)) if packed else b"".join(lines))
    with pytest.raises(DataError, match=rf"{bad.name}, line 451: C26: expected 1 to 8 hexadecimal digits"):
        on_two_cores([sources[0], bad], tmp_path / "out")
    assert list(tmp_path.iterdir()) == [bad]


def test_the_command_takes_the_engine_and_a_threshold_that_no_id_reaches(sources, tmp_path):
    arguments = ["criteo", str(sources[0]), "-o", str(tmp_path / "out"), "--engine", "spark", "--threshold", "1000000"]
    answer = CliRunner().invoke(app, [*arguments, "--processes", "2"], catch_exceptions=False)
    assert answer.exit_code == 0 and "600 rows" in answer.output
    dataset = CriteoDataset.open(tmp_path / "out", verify=True)
    assert set(dataset.table_rows) == {2}
    assert set(np.unique(dataset.split("train").categorical)) <= {0, 1}
