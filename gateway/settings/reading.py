"""The settings of a gateway: a file, changed by the environment, changed by a command's options."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.settings import checked, parse_yaml, read_mapping
from gateway.errors import GatewayError
from gateway.settings.gateway import GatewaySettings

PREFIX = "TANDEM_GATEWAY__"
"""Of environment variables: TANDEM_GATEWAY__LIMITS__SOURCE_MS is the field limits.source_ms."""


def read_gateway_settings(
    path: Path | None, options: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> GatewaySettings:
    """
    Args:
        path: gateway.yaml; None: nothing but defaults.
        options: what the command line says, by field: {"limits.source_ms": 30.0}. None means that it says nothing.
    Raises:
        GatewayError: one sentence that names the file, the variable or the option, and the field.
    """
    values, told_by = read_mapping(path, GatewayError) if path is not None else {}, {}
    for name, text in sorted(environment.items()):
        if name.startswith(PREFIX):
            field = name.removeprefix(PREFIX).lower().replace("__", ".")
            if _put(values, field, _parsed(text, name)):
                told_by[field] = name
    for field, value in options.items():
        if value is not None and _put(values, field, value):
            told_by[field] = "the command line"

    def where(field: str) -> str:
        fitting = [one for one in told_by if f"{field}.".startswith(f"{one}.") or f"{one}.".startswith(f"{field}.")]
        if fitting:
            return told_by[max(fitting, key=len)]
        return str(path) if path is not None else "the gateway's settings"

    return checked(GatewaySettings, values, where, GatewayError)


def set_options(pairs: list[str]) -> dict[str, Any]:
    """`--set limits.source_ms=30`, as often as one likes. Raises GatewayError."""
    found = {}
    for pair in pairs:
        field, equals, text = pair.partition("=")
        if not equals or not field:
            raise GatewayError(f"--set {pair!r:.80}: expected FIELD=VALUE, such as limits.source_ms=30")
        found[field] = _parsed(text, f"--set {field}")
    return found


def as_environment(options: Mapping[str, Any]) -> dict[str, str]:
    """What the command line said, for a process that is started with the same file."""
    return {
        PREFIX + field.upper().replace(".", "__"): json.dumps(value, default=str)
        for field, value in options.items()
        if value is not None
    }


def _put(values: dict[str, Any], field: str, value: Any) -> bool:
    """False if there is a value where a section should be, which is refused in its own words."""
    *sections, name = field.split(".")
    for section in sections:
        inner = values.get(section)
        if inner is None:
            inner = values[section] = {}
        if not isinstance(inner, dict):
            return False
        values = inner
    values[name] = value
    return True


def _parsed(text: str, where: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise GatewayError(f"{where}: {error}") from None
