"""Settings in YAML: what nobody means is an error of one sentence."""

import pytest

from data.yaml_text import parse_yaml


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
