"""One LED: what a bundle serves is what the model of a user-item matrix scores, however it was made."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from candidates.config import EmbeddingConfig, SpectralValues
from candidates.led.country_training import train
from candidates.led.making import CONTENDERS
from candidates.led.model import Led
from candidates.led.shards import LedShards
from candidates.led.source import load
from candidates.training import prepared
from candidates.training_set import Stopwatch
from data.items import ItemTable
from data.request import History, Request
from tests.support.candidates import SMALL
from tests.support.led import held_out, made_up
from tests.support.marketplace import catalog_of, events_of

VALUES = SpectralValues(output_power=0.1, length_normalisation=0.5, bias=0.03, dimension=16)
MADE: dict[str, dict[str, Any]] = {
    "spectral": {"tuning": "spectral", "spectral": VALUES},
    "full, from the spectral": {"tuning": "full", "spectral": VALUES, "epochs": 1},
    "full, from the SVD": {"tuning": "full", "start": "svd", "loss": "bpr", "epochs": 1},
    "project, from the SVD": {"tuning": "project", "start": "svd", "loss": "multinomial", "epochs": 1},
}


@pytest.fixture(scope="module")
def one_merchant() -> tuple[ItemTable, pa.Table]:
    """Views of one merchant and country; users take items in the order of their positions, as a matrix has them."""
    catalog = catalog_of((120,))
    events = events_of(catalog, 300, seed=2, countries=("AA",))
    events = events.sort_by([("user_id", "ascending"), ("item_id", "ascending")])
    events = events.set_column(1, "ts", events["ts"].combine_chunks().sort())
    return ItemTable.of(catalog), events.set_column(3, "kind", pa.array(["view"] * len(events)))


@pytest.mark.parametrize("name", MADE)
def test_a_bundle_serves_the_scores_of_the_model_of_the_same_matrix(one_merchant, tmp_path: Path, name: str) -> None:
    items, events = one_merchant
    led = SMALL.led.changed(**MADE[name])
    config = SMALL.changed(led=led, embedding=EmbeddingConfig(dimension=16))
    with prepared(events, items, config, 0, Stopwatch()) as (training, _):
        figures = train(training, tmp_path)
        (country,) = training.countries
        matrix = LedShards.of(training, country).matrix()
    assert figures["AA"]["chosen"] == led.tuning
    served, positions = load(tmp_path, items), country.items.items
    assert (served.country("AA").scales is None) == ("SVD" in name)
    scores = Led(led).fit(matrix, show_progress=False).scores(matrix)
    for user in range(0, matrix.shape[0], 7):
        taken = positions[matrix[user].indices]
        history = History(taken, np.zeros(len(taken), np.int8), np.zeros(len(taken), np.int64))
        found = served.propose(Request("u", 0, "AA", 0, history), 500)
        known = np.isin(found.items, positions)
        assert known.sum() == items.available[positions].sum()
        expected = scores[user, country.items.rows[found.items[known]]]
        np.testing.assert_allclose(found.scores[known], expected, rtol=1e-3, atol=1e-4 * np.abs(scores).max())


def test_auto_serves_the_best_of_what_it_made_and_the_manifest_says_why(trained: Any) -> None:
    for figures in trained.metrics["sources"]["led"].values():
        contenders = figures["contenders"]
        assert tuple(contenders) == CONTENDERS
        recalls = {name: one["validation_recall@20"] for name, one in contenders.items()}
        assert recalls[figures["chosen"]] == max(recalls.values())
        assert figures["why"] == "best on validation users"
        assert all(one["validation_recall@20_se"] > 0 and one["seconds"] > 0 for one in contenders.values())
        assert contenders["spectral"]["values"]["dimension"] == 16
        for name in ("project", "full"):
            assert 1 <= contenders[name]["best_epoch"] <= contenders[name]["epochs"] == 3


def test_of_a_matrix_auto_chooses_too_and_is_spectral_without_validation_users() -> None:
    config = SMALL.led.changed(epochs=2)
    made = Led(config).fit(made_up(), held_out(), show_progress=False).made
    assert made is not None
    assert [one.tuning for one in made.contenders] == list(CONTENDERS)
    assert made.chosen.quality == max(one.quality for one in made.contenders)
    alone = Led(config).fit(made_up(), show_progress=False).made
    assert alone is not None
    assert (alone.chosen.tuning, len(alone.contenders), alone.why) == ("spectral", 1, "the only one made")
