"""Stage one's figures in the terminal."""

from candidates.tables import merged_sentence


def test_a_figure_of_one_user_alone_is_shown_without_an_error() -> None:
    found = {"recall@20": 0.5, "recall@20_se": float("nan"), "best": "gbo", "less best": 0.1, "less best_se": 0.02}
    assert merged_sentence(found) == "recall@20 of all sources, merged, 0.5000; less gbo's +0.1000 ± 0.0200"
