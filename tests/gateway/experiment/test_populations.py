"""Populations: checked on load, dealt by hash, sticky, independent, reloaded without harm."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from gateway.errors import GatewayError
from gateway.experiment.populations import (
    DEFAULT_POPULATIONS,
    Experiment,
    Population,
    WatchedExperiment,
    load_experiment,
)

KNOWN = ("gbo", "cbo", "led")
GOOD = "experiment: e\nsalt: s\npopulations: {A: {share: 0.5, sources: [gbo]}, B: {share: 0.5, sources: [led, gbo]}}\n"


def _experiment(salt: str, *shares: float) -> Experiment:
    names = "ABCDEFGH"
    return Experiment("e", salt, tuple(Population(names[k], share, ("gbo",)) for k, share in enumerate(shares)))


def _users(count: int) -> list[str]:
    return [f"user-{k}" for k in range(count)]


def _dealt(experiment: Experiment, users: list[str]) -> list[int]:
    """For each user the population's place."""
    return ["ABCDEFGH".index(experiment.assign(user)) for user in users]


def test_two_experiments_deal_users_independently() -> None:
    users = _users(200_000)
    one = _dealt(_experiment("spring", 0.2, 0.3, 0.5), users)
    other = _dealt(_experiment("autumn", 0.3, 0.3, 0.4), users)
    table = np.zeros((3, 3), int)
    np.add.at(table, (one, other), 1)
    assert chi2_contingency(table).statistic < 20.1  # 4 degrees of freedom: exceeded once in 2,000


def test_shares_are_kept() -> None:
    dealt = np.bincount(_dealt(_experiment("s", 0.2, 0.3, 0.5), _users(200_000))) / 200_000
    assert np.abs(dealt - [0.2, 0.3, 0.5]).max() < 5 * np.sqrt(0.25 / 200_000)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=30), st.text(min_size=1, max_size=10))
def test_a_user_gets_the_same_population_every_time(users: list[str], salt: str) -> None:
    experiment, again = (_experiment(salt, 0.1, 0.2, 0.3, 0.4) for _ in range(2))
    assert [experiment.assign(user) for user in users] == [again.assign(user) for user in users]


def test_assignment_is_the_documented_hash() -> None:
    """SHA-256 of "2026-11-led:user-1" begins with 8 bytes that are this fraction of 2**64 (from sha256sum)."""
    import hashlib

    fraction = int(hashlib.sha256(b"2026-11-led:user-1").hexdigest()[:16], 16) / 2**64
    expected = "A" if fraction < 0.2 else "B" if fraction < 0.5 else "C"
    assert load_experiment(DEFAULT_POPULATIONS, KNOWN).assign("user-1") == expected


def test_the_order_of_the_file_moves_nobody(tmp_path: Path) -> None:
    path, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text(GOOD)
    other.write_text(
        "salt: s\npopulations: {B: {share: .5, sources: [gbo, led]}, A: {share: .5, sources: [gbo]}}\nexperiment: e\n"
    )
    assert load_experiment(path, KNOWN) == load_experiment(other, KNOWN)
    assert load_experiment(path, KNOWN).config_hash == load_experiment(other, KNOWN).config_hash


def test_every_change_that_matters_changes_the_hash(tmp_path: Path) -> None:
    variants = [GOOD, GOOD.replace("salt: s", "salt: t"), GOOD.replace("experiment: e", "experiment: f")]
    variants += [GOOD.replace("[gbo]", "[cbo]"), GOOD.replace("A: {share: 0.5", "A: {share: 0.4999999")]
    hashes = set()
    for variant in variants:
        (tmp_path / "p.yaml").write_text(variant)
        hashes.add(load_experiment(tmp_path / "p.yaml", KNOWN).config_hash)
    assert len(hashes) == len(variants)


_DOUBLING = "".join(f"a{n}: &a{n} [{', '.join(['x' if n == 0 else f'*a{n - 1}'] * 9)}]\n" for n in range(9))
"""A few lines that stand for 9^9 values: they must not be written out to say what is wrong."""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD.replace("0.5, sources: [gbo]", "0.4, sources: [gbo]"),
            r"populations: expected shares that sum to 1.*0\.9",
        ),
        (GOOD.replace("0.5, sources: [gbo]", "-0.5, sources: [gbo]"), r"populations\.A\.share: .*greater than 0"),
        (GOOD.replace("0.5, sources: [gbo]", ".nan, sources: [gbo]"), r"populations\.A\.share: .*nan"),
        (GOOD.replace("0.5, sources: [gbo]", "half, sources: [gbo]"), r"populations\.A\.share: .*number.*half"),
        (GOOD.replace("[gbo]", "[]"), r"populations\.A\.sources: .*at least 1"),
        (GOOD.replace("[gbo]", "[gbo, gbo]"), r"populations\.A\.sources: expected every source once"),
        (GOOD.replace("[gbo]", "[lde]"), r"populations\.A\.sources: expected some of cbo, gbo, led, found 'lde'"),
        (GOOD.replace("salt: s\n", ""), r"salt: Field required"),
        (GOOD.replace("salt: s", "salt: ''"), r"salt: .*at least 1"),
        (GOOD.replace("experiment: e", "experiment: 'a b'"), r"experiment: .*a b"),
        (GOOD.replace("A:", "'<b>':"), r"populations.*<b>"),
        (GOOD + "colour: red\n", r"colour: .*not permitted"),
        (GOOD.replace("0.5, sources: [gbo]", "yes, sources: [gbo]"), r"populations\.A\.share: .*number, found True"),
        (GOOD + "salt: t\n", r"expected YAML, found 'salt' twice, again in line 4"),
        (GOOD.replace("B:", "A:"), r"expected YAML, found 'A' twice, again in line 3"),
        ("? [a]\n: 1\n", r"expected YAML, found while constructing a mapping"),
        ("[1, 2]", r"expected a mapping of fields to values, found \[1, 2\]"),
        ("", r"expected a mapping of fields to values, found nothing"),
        (
            "experiment: e\nsalt: s\npopulations: {A: 1}\n",
            r"populations\.A: expected a mapping of fields to values, found 1",
        ),
        ("[" * 5000, r"expected YAML, found values nested"),
        (_DOUBLING, r"experiment: Field required"),
        ("a: [", r"expected YAML"),
        ("!!python/object/apply:os.system ['true']", r"expected YAML"),
        ("experiment: e\nsalt: s\npopulations: {}\n", r"populations: "),
    ],
)
def test_a_wrong_file_gets_one_sentence_with_file_and_field(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "populations.yaml"
    path.write_text(text)
    with pytest.raises(GatewayError, match=rf"populations\.yaml: {said}") as caught:
        load_experiment(path, KNOWN)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"nowhere\.yaml: expected a YAML file there"):
        load_experiment(tmp_path / "nowhere.yaml", KNOWN)


def test_a_changed_file_is_taken_and_a_wrong_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    watched = WatchedExperiment(path, KNOWN)
    first = watched.current
    assert not watched.refresh()
    path.write_text(GOOD.replace("salt: s", "salt: tea"))
    assert watched.refresh() and watched.current.salt == "tea"
    path.write_text("experiment: broken")
    assert not watched.refresh() and watched.current.salt == "tea"
    assert "stays in force" in caplog.text and "p.yaml" in caplog.text
    path.unlink()
    assert not watched.refresh() and watched.current.salt == "tea"
    path.write_text(GOOD)
    assert watched.refresh() and watched.current == first


def test_a_reload_says_which_share_of_users_moves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Against a count of users; another salt deals everybody anew."""
    path, users = tmp_path / "p.yaml", [f"u{k}" for k in range(4_000)]

    def made(salt: str, **shares: float) -> Experiment:
        arms = "".join(f"  {name}: {{share: {share}, sources: [gbo]}}\n" for name, share in shares.items())
        path.write_text(f"experiment: e\nsalt: {salt}\npopulations:\n{arms}")
        return load_experiment(path, KNOWN)

    before = made("s", A=0.2, B=0.3, C=0.5)
    others = [made("s", A=0.3, B=0.2, C=0.5), made("s", B=0.5, D=0.5), made("t", A=0.2, B=0.3, C=0.5), before]
    for after in others:
        counted = np.mean([before.assign(user) != after.assign(user) for user in users])
        assert before.moved_share(after) == pytest.approx(counted, abs=0.03)
    assert before.moved_share(before) == pytest.approx(0, abs=1e-12)
    made("s", A=0.2, B=0.3, C=0.5)
    watched = WatchedExperiment(path, KNOWN, kept=tmp_path / "kept")
    made("s", A=0.3, B=0.2, C=0.5)
    with caplog.at_level(logging.INFO):
        assert watched.refresh()
    assert "are in force: 10.0 % of users change their population" in caplog.text


def test_what_served_is_kept_by_its_hash_and_is_the_same_again(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD + "rules: {cap: {shown: 2, days: 1}, fixed: [{place: 1, merchant: m, items: [i]}]}\n")
    experiment = load_experiment(path, KNOWN)
    for _ in range(2):
        experiment.keep(tmp_path / "kept")
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.stem == experiment.config_hash and load_experiment(kept, KNOWN) == experiment
