"""`Dlrm`: fit on a table of one's own, predict, save, load."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ranker.dlrm import Dlrm
from ranker.errors import RankerError
from ranker.evaluation.metrics import area_under_curve
from ranker.training.settings import BANNER


def rows_of(count: int = 3000, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """A number and two ids; the label depends on the number and on one id."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "price": np.where(random.random(count) < 0.1, np.nan, random.normal(50, 20, count)),
            "user": random.integers(0, 30, count),
            "item": [None if one < 2 else f"i{one}" for one in random.integers(0, 40, count)],
        }
    )
    odd = frame["item"].str[1:].fillna("0").astype(int) % 2
    logit = np.where(odd, 1.5, -1.5) + (np.nan_to_num(frame["price"], nan=50) - 50) / 20
    return frame, (random.random(count) < 1 / (1 + np.exp(-logit))).astype(int)


SMALL = BANNER.changed(epochs=3, batch=128)


def test_it_learns_from_numbers_and_ids_and_predicts_the_same_from_disk(tmp_path):
    frame, label = rows_of()
    model = Dlrm(numbers=["price"], ids=["user", "item"], dimension=8, settings=SMALL).fit(frame[:2500], label[:2500])
    found = model.predict(frame[2500:])
    assert area_under_curve(label[2500:], found) > 0.75
    assert found.mean() == pytest.approx(label[2500:].mean(), abs=0.1)
    model.save(tmp_path / "model")
    model.save(tmp_path / "model")
    (tmp_path / "shop" / "bundles").mkdir(parents=True)
    with pytest.raises(RankerError, match="holds no model"):
        model.save(tmp_path / "shop")
    assert (tmp_path / "shop" / "bundles").is_dir()
    again = Dlrm.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(frame[2500:]), found)
    as_arrow, as_dict = pa.Table.from_pandas(frame[2500:]), {name: frame[2500:][name].tolist() for name in frame}
    np.testing.assert_array_equal(again.predict(as_arrow), found)
    np.testing.assert_allclose(again.predict(as_dict), found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.drop(columns="user"), "the rows have no column 'user'"),
        (lambda frame: frame.assign(price="dear"), "column price: expected numbers"),
    ],
)
def test_rows_that_it_cannot_read_are_refused(change, said):
    frame, label = rows_of(200)
    with pytest.raises(RankerError, match=said):
        Dlrm(numbers=["price"], ids=["user", "item"]).fit(change(frame), label)


def test_what_cannot_be_is_refused_with_a_sentence():
    frame, label = rows_of(200)
    with pytest.raises(RankerError, match="not fitted yet"):
        Dlrm(numbers=["price"], ids=["user"]).predict(frame)
    with pytest.raises(RankerError, match="training rows 0 are positive"):
        Dlrm(numbers=["price"], ids=["user"]).fit(frame, np.zeros(200))
    with pytest.raises(RankerError, match="at least one dense feature"):
        Dlrm(numbers=[], ids=["user"])
    with pytest.raises(RankerError, match="different lengths"):
        Dlrm(numbers=["price"], ids=["user"]).fit(frame, np.concatenate([label, [0, 1, 0]]))
