"""Settings: what nobody means is an error of one sentence with file, field and what was found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from data.errors import TandemError
from data.settings import (
    Count,
    Positive,
    Settings,
    Share,
    checked,
    dump_settings,
    parse_settings,
    parse_yaml,
    read_json,
    read_settings,
)


class _Error(TandemError):
    pass


class _Bag(Settings):
    name: str
    length: Count = 3


class _Whole(Settings):
    rate: Positive = 1.0
    share: Share = 0.1
    bags: tuple[_Bag, ...] = ()
    use: Literal["log", "raw"] | dict[str, Literal["log", "raw"]] = "log"
    place: Path = Path("a")


def test_lists_texts_and_short_numbers_become_what_the_fields_are(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("rate: 1e-3\nbags: [{name: a}]\nplace: b/c\nuse: {x: raw}\n")
    found = read_settings(path, _Whole, _Error)
    assert found == _Whole(rate=0.001, bags=(_Bag(name="a"),), place=Path("b/c"), use={"x": "raw"})
    assert parse_settings(dump_settings(found), _Whole, "again") == found
    assert found.changed(share=0.5).share == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate: '1'", "rate: Input should be a valid number, found '1'"),
        ("rate: yes", "rate: Input should be a valid number, found True"),
        ("rate: .inf", "rate: Input should be a finite number, found inf"),
        ("share: 50", "share: Input should be less than 1, found 50"),
        ("shar: 1", "shar: Extra inputs are not permitted; did you mean share"),
        ("zzz: 1", "zzz: Extra inputs are not permitted; expected some of rate, share, bags, use, place"),
        ("bags: [{name: a, length: 0}]", r"bags\.0\.length: Input should be greater than or equal to 1, found 0"),
        ("bags: [{length: 1}]", r"bags\.0\.name: Field required"),
        ("bags: [5]", r"bags\.0: expected a mapping of fields to values, found 5"),
        ("use: {x: foo}", r"use\.x: Input should be 'log' or 'raw', found 'foo'"),
        ("[1]", r"expected a mapping of fields to values, found \[1\]"),
        ("", "expected a mapping of fields to values, found nothing"),
        ("a: [", "expected YAML, found while parsing"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_found(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(_Error, match=rf"s\.yaml: {said}") as caught:
        read_settings(path, _Whole, _Error)
    assert "\n" not in str(caught.value)


def test_what_is_no_settings_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(_Error, match="nowhere: expected a YAML file there, found No such file"):
        read_settings(tmp_path / "nowhere", _Whole, _Error)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(_Error, match="bytes: expected UTF-8 text"):
        read_settings(tmp_path / "bytes", _Whole, _Error)
    (tmp_path / "long").write_text("# " + "x" * (1 << 20))
    with pytest.raises(_Error, match="long: expected at most 1,048,576 bytes"):
        read_settings(tmp_path / "long", _Whole, _Error)


def test_an_error_of_a_models_own_is_said_with_the_place() -> None:
    class Own(Settings):
        def model_post_init(self, context: object) -> None:
            raise _Error("no good")

    with pytest.raises(_Error, match="here: no good"):
        checked(Own, {}, "here", _Error)


def test_plain_values_anchors_and_merged_keys_are_read_as_ever() -> None:
    text = "base: &base {a: 1, b: [x, null]}\nother: {<<: *base, a: 2}\n"
    assert parse_yaml(text) == {"base": {"a": 1, "b": ["x", None]}, "other": {"a": 2, "b": ["x", None]}}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "expected YAML, found 'a' twice, again in line 3"),
        ("outer:\n  inner: {a: 1, a: 1}\n", "expected YAML, found 'a' twice, again in line 2"),
        ("1: x\n0x1: y\n", "expected YAML, found 1 twice, again in line 2"),
        ("[" * 5000, "expected YAML, found values nested hundreds of levels deep"),
        ("? [a]\n: 1\n", "expected YAML, found while constructing a mapping"),
        ("when: 2026-02-30\n", "expected YAML, found day is out of range"),
        ("a: [", "expected YAML, found while parsing"),
        ("a: !!python/name:os.system x", "expected YAML, found could not determine a constructor"),
    ],
)
def test_what_is_wrong_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class _Facts:
    rows: int
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "expected facts: expected JSON, found EOF"),
        ('{"rows": "3"}', "expected facts: rows: Input should be a valid integer, found '3'"),
        ("[]", "expected facts: .*found"),
        ("{}", "expected facts: rows: Field required"),
    ],
)
def test_a_json_file_is_read_as_what_it_ought_to_hold(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "facts.json"
    path.write_text('{"rows": 3, "names": ["a"]}')
    assert read_json(path, _Facts) == _Facts(3, ("a",))
    assert read_json(path, dict[str, object]) == {"rows": 3, "names": ["a"]}
    path.write_text(content)
    with pytest.raises(_Error, match=rf"facts\.json: {said}") as caught:
        read_json(path, _Facts, expected="facts", error=_Error)
    assert "\n" not in str(caught.value)
    (tmp_path / "itself").symlink_to("itself")
    for nowhere in (tmp_path / "nowhere", path / "below a file", tmp_path / "itself"):
        with pytest.raises(_Error, match=r"^write some$"):
            read_json(nowhere, _Facts, missing="write some", error=_Error)
