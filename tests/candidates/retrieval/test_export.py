"""`tandem candidates export-vectors`: the file's vectors score as the bundle serves."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig
from candidates.errors import CandidatesError
from candidates.retrieval.questions import InService
from candidates.sources import load_sources
from data.request import History, Request
from data.tables import store
from data.workspace import Origin, Workspace
from pipeline.candidates_cli import app
from pipeline.training import TrainingPlan, train_stage_one
from tests.support.marketplace import catalog_of, events_of


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = Workspace(tmp_path_factory.mktemp("workspace"))
    catalog = catalog_of((30, 60))
    store(place, events_of(catalog, 300, seed=1), catalog, Origin("made up", True, "0", 0, len(catalog)))
    led = LedConfig(tuning="spectral", dimension=8)
    quick = CandidatesConfig(embedding=EmbeddingConfig(dimension=8), cbo=CboConfig(clusters=(4,)), led=led)
    train_stage_one(place, TrainingPlan(candidates=quick))
    return place


@pytest.mark.parametrize("country", ["AA", "BB"])
def test_the_files_vectors_give_the_scores_that_are_served(workspace: Workspace, tmp_path: Path, country: str) -> None:
    file = tmp_path / "vectors.parquet"
    words = ["export-vectors", "-w", str(workspace.root), "-o", str(file), "--country", country]
    answer = CliRunner().invoke(app, words, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    table = pq.read_table(file)
    rows = {item: row for row, item in enumerate(table["item_id"].to_pylist())}
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    assert f"{len(rows)} vectors of {vectors.shape[1]} numbers, country {country}" in answer.output
    power = float(answer.output.split("length power ")[1])
    scale, bias = table["scale"].to_numpy(), table["bias"].to_numpy()

    service = InService.of(workspace)
    history = [service.items.items.position(item) for item in ("m1-0001", "m1-0003", "m1-0005")]
    taken = [rows[item] for item in ("m1-0001", "m1-0003", "m1-0005")]
    user = (scale[taken, None] * vectors[taken]).sum(axis=0) / len(taken) ** power
    request = Request("u", 1, country, 9, History(np.array(history, np.int32), np.zeros(3, np.int8), np.zeros(3, int)))
    found = load_sources(service.bundle, service.items)["led"].propose(request, 10)
    ids = [service.items.items.id(int(position)) for position in found.items]
    known = [place for place, item in enumerate(ids) if item in rows]
    assert len(known) == 10
    expected = [float(vectors[rows[item]] @ user + bias[rows[item]]) for item in ids]
    assert found.scores == pytest.approx(expected, abs=1e-4)


def test_a_country_without_a_model_is_one_sentence(workspace: Workspace, tmp_path: Path) -> None:
    words = ["export-vectors", "-w", str(workspace.root), "-o", str(tmp_path / "v.parquet"), "--country", "ZZ"]
    with pytest.raises(CandidatesError, match="LED has no model of country 'ZZ'; expected one of AA, BB"):
        raise CliRunner().invoke(app, words).exception
    assert list(tmp_path.iterdir()) == []
