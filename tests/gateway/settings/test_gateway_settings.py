"""gateway.yaml, the environment and options: every field is bounded, documented, used, and refused when wrong."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bench.reference.settings import _classes, _fields
from gateway.errors import GatewayError
from gateway.settings.gateway import GatewaySettings
from gateway.settings.reading import PREFIX, as_environment, read_gateway_settings, set_options
from gateway.settings.web import WebSettings

ROOT = Path(__file__).parents[3]
WRONG: tuple[Any, ...] = ("?", -1, 0.5, [[1]], {"no such field": 1})
SOUND = {"sha256": "0" * 64, "certificate": "a", "key": "b", "per_second": 1.0, "endpoint": "http://a"}
"""Of fields without a default."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of gateway.yaml. `path`: dotted; NAME stands for what a user names."""

    path: str
    model: type[BaseModel]
    info: FieldInfo
    kind: Any

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def bounds(self) -> dict[str, float]:
        parts = [part for one in (*self.info.metadata, *get_args(self.kind)) for part in (one, *_inner(one))]
        return {key: getattr(one, key) for one in parts for key in ("gt", "ge", "lt", "le") if hasattr(one, key)}

    def values(self, value: object) -> dict[str, Any]:
        *sections, name = self.path.split(".")
        required = {one for one, field in self.model.model_fields.items() if field.is_required()} - {name}
        made: Any = {name: value} | {one: SOUND[one] for one in required}
        for section in reversed(sections):
            made = {section: made}
        return made


def _inner(one: object) -> list[Any]:
    return list(getattr(one, "metadata", None) or [])


def _walk(model: type[BaseModel], path: str = "") -> Iterator[Field]:
    for name, kind, _, _ in _fields(model):
        yield Field(f"{path}{name}", model, model.model_fields[name], kind)
        for inner in _classes(kind):
            named = "NAME." if "dict" in str(kind) else ""
            yield from _walk(inner, f"{path}{name}.{named}")


FIELDS = {one.path: one for one in _walk(GatewaySettings)}
NUMBERS = [one for one in FIELDS.values() if one.info.annotation in (int, float)]


def _read(tmp_path: Path, values: object, environment: dict[str, str] | None = None, **options: Any) -> GatewaySettings:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(values))
    return read_gateway_settings(path, options, environment or {})


def _refused(tmp_path: Path, values: object, environment: dict[str, str] | None = None, **options: Any) -> str:
    with pytest.raises(GatewayError) as found:
        _read(tmp_path, values, environment, **options)
    sentence = str(found.value)
    assert "\n" not in sentence and len(sentence) < 600
    return sentence


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_refuses_what_it_is_not_with_one_sentence_that_names_it(tmp_path, path):
    field, sentences = FIELDS[path], []
    for wrong in WRONG:
        try:
            _read(tmp_path, field.values(wrong))
        except GatewayError as error:
            sentences.append(str(error))
    named = [one for one in sentences if f"gateway.yaml: {path}" in one]
    assert named, f"no wrong value of {path} is refused by its name: {sentences}"
    assert not [one for one in sentences if "\n" in one]
    variable = PREFIX + path.upper().replace(".", "__")
    if "NAME" not in path:
        refused = [value for value in WRONG if _is_refused(tmp_path, field, value)]
        told = as_environment({path: refused[0]})
        assert refused and _refused(tmp_path, field.values(None), told).startswith(variable)


def _is_refused(tmp_path: Path, field: Field, value: object) -> bool:
    try:
        _read(tmp_path, field.values(value))
    except GatewayError as error:
        return f": {field.path}" in str(error)
    return False


@pytest.mark.parametrize("field", NUMBERS, ids=lambda one: one.path)
def test_every_number_has_a_least_value_and_none_is_taken_beyond_its_bounds(tmp_path, field):
    bounds = field.bounds
    assert {"gt", "ge"} & set(bounds), f"{field.path} has no least value"
    beyond = {"gt": 0, "ge": -1, "lt": 0, "le": 1}
    for key, bound in bounds.items():
        assert f": {field.path}: " in _refused(tmp_path, field.values(bound + beyond[key]))
    if field.info.annotation is float:
        for value in (float("nan"), float("inf")):
            assert f": {field.path}: " in _refused(tmp_path, field.values(value))


def test_every_field_is_documented_with_its_meaning():
    page = (ROOT / "docs/reference/configuration.md").read_text()
    for path, field in FIELDS.items():
        alike = [other for other, one in FIELDS.items() if (one.model, one.name) == (field.model, field.name)]
        rows = [re.search(rf"^\| `{re.escape(one)}` \|[^|]*\|[^|]*\| (.*) \|$", page, re.MULTILINE) for one in alike]
        told = [row[1] for row in rows if row]
        assert told and len(told[0]) > 10, f"{path} has no meaning in docs/reference/configuration.md"


def test_every_field_is_used_somewhere():
    code = (
        "\n".join(
            one.read_text()
            for part in ("gateway", "data/eventlog")
            for one in (ROOT / part).rglob("*.py")
            if one.parent.name != "settings"
        )
        + (ROOT / "gateway/settings/gateway.py").read_text().partition("@property")[2]
        + (ROOT / "gateway/settings/web.py").read_text().partition("def item_page")[2]
    )
    for path in FIELDS:
        name = path.rpartition(".")[2]
        assert re.search(rf"\.{name}\b", code), f"nothing reads {path}"


def test_the_file_is_changed_by_the_environment_and_that_by_options(tmp_path):
    values = {"port": 1000, "workers": 3, "limits": {"source_ms": 5, "total_ms": 50}, "http": {"port": 81}}
    environment = {f"{PREFIX}WORKERS": "4", f"{PREFIX}LIMITS__SOURCE_MS": "6", f"{PREFIX}HTTP__ORIGINS": "[http://a]"}
    found = _read(tmp_path, values, environment, **{"limits.source_ms": 7.5, "port": None})
    assert (found.port, found.workers, found.limits.source_ms, found.limits.total_ms) == (1000, 4, 7.5, 50)
    assert found.http is not None and (found.http.port, found.http.origins) == (81, ("http://a",))
    assert _read(tmp_path, {}) == GatewaySettings() and read_gateway_settings(None, {}, {}).http is None


def test_what_options_said_reaches_a_process_that_is_started_beside(tmp_path):
    options = {"workspace": Path("a b"), "exclude_kinds": ["sale"], "http.shop": True, "host": "::1", "port": None}
    assert read_gateway_settings(None, {}, as_environment(options)) == read_gateway_settings(None, options, {})


def test_a_fault_names_what_told_it(tmp_path):
    assert "gateway.yaml: limits.source_ms: " in _refused(tmp_path, {"limits": {"source_ms": 0}})
    variable = f"{PREFIX}LIMITS__SOURCE_MS"
    assert _refused(tmp_path, {}, {variable: "fast"}).startswith(f"{variable}: limits.source_ms: ")
    assert _refused(tmp_path, {}, {variable: "[1"}).startswith(f"{variable}: expected YAML")
    assert _refused(tmp_path, {}, {f"{PREFIX}PROT": "1"}).startswith(f"{PREFIX}PROT: prot: ")
    assert "the command line: port: " in _refused(tmp_path, {"port": 5}, port=0)
    assert "gateway.yaml: limits: expected a mapping" in _refused(tmp_path, {"limits": 3}, **{"limits.source_ms": 2.0})
    assert "did you mean workers?" in _refused(tmp_path, {"worker": 3})
    with pytest.raises(GatewayError, match=r"--set 'port': expected FIELD=VALUE"):
        set_options(["port"])
    with pytest.raises(GatewayError, match=r"--set port: expected YAML"):
        set_options(["port=[1"])
    assert set_options(["limits.source_ms=3", "http={port: 8}"]) == {"limits.source_ms": 3, "http": {"port": 8}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host: 0.0.0.0\n", "expected tokens for clients of /v1"),
        ("host: example.org\n", "expected tokens"),
        ("item_url: https://shop.example/\n", "with {item_id} in its path"),
        ("item_url: 'javascript:alert({item_id})'\n", "with {item_id} in its path"),
        ("item_url: '//evil.example/{item_id}'\n", "with {item_id} in its path"),
        ("item_url: 'https://{item_id}/x'\n", "with {item_id} in its path"),
        ("item_url: 'https://shop.example/{merchant_id}/{item_id}'\n", "no braces but those of {item_id}"),
        ("item_urls: {m: /p}\n", "with {item_id} in its path"),
        ("origins: ['*']\n", "expected origins such as"),
        ("origins: ['https://shop.example/']\n", "expected origins such as"),
        ("public_url: ftp://x\n", "expected an address such as"),
        ("certificate: a.pem\n", "expected both files or neither"),
        ("tokens: {a: {sha256: abc}}\n", "sha256"),
        ("tokens: {a: {sha256: 0}}\n", "sha256"),
        ("prot: 1\n", "did you mean port?"),
    ],
)
def test_wrong_settings_of_the_http_server_are_refused_with_file_and_field(tmp_path, text, words):
    sentence = _refused(tmp_path, {"http": yaml.safe_load(text)})
    assert words in sentence and str(tmp_path / "gateway.yaml") in sentence


def test_an_items_page_is_its_merchants_or_the_common_one_and_ids_are_quoted():
    settings = WebSettings(item_url="https://a.example/{item_id}", item_urls={"m": "/p?i={item_id}"})
    assert settings.item_page("other", "a/b?c&d #é") == "https://a.example/a%2Fb%3Fc%26d%20%23%C3%A9"
    assert settings.item_page("m", "x y") == "/p?i=x%20y"
    assert WebSettings().item_page("m", "x") is None


def test_an_address_is_one_that_grpc_reads() -> None:
    for host, expected in (("127.0.0.1", "127.0.0.1:50051"), ("0.0.0.0", "127.0.0.1:50051"), ("::1", "[::1]:50051")):
        assert GatewaySettings(host=host).address == expected
