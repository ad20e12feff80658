"""`tandem gateway check`: would a gateway with these settings start, and what would go wrong?"""

import shutil
import tempfile
from collections.abc import Callable

from data.errors import TandemError
from gateway.access import check_certificates
from gateway.errors import GatewayError
from gateway.experiment.populations import DEFAULT_POPULATIONS, Experiment, load_experiment
from gateway.server.processes import reserve_port
from gateway.settings.access import Token
from gateway.settings.gateway import GatewaySettings
from gateway.settings.web import is_loopback

FREE_GIB = 1.0
"""Of the log's disk, at the least."""


def check_gateway(settings: GatewaySettings) -> dict[str, str]:
    """What was found of each part: "" where it is as it should be, or one sentence."""
    checks: dict[str, Callable[[GatewaySettings], None]] = {
        "bundle and populations": _bundle,
        "ports": _ports,
        "disk": _disk,
        "tokens": _tokens,
        "certificates": _certificates,
        "timelines": _timelines,
    }
    found = {}
    for name, check in checks.items():
        try:
            check(settings)
            found[name] = ""
        except (TandemError, OSError) as error:
            found[name] = " ".join(str(error).split())
    return found


def _bundle(settings: GatewaySettings) -> None:
    from gateway.banner.runtime import Runtime
    from gateway.server.bundle_checks import check_runtime

    runtime = Runtime.load(settings.link, verify=True)
    check_runtime(runtime)
    path = settings.populations or DEFAULT_POPULATIONS
    check_caps(settings, load_experiment(path, tuple(runtime.sources)))


def check_caps(settings: GatewaySettings, experiment: Experiment) -> None:
    """Raises GatewayError: a population's rules ask what users were shown, and nothing remembers it."""
    capped = [one.name for one in experiment.populations if one.rules.seen_seconds]
    if capped and not settings.timelines.on:
        raise GatewayError(
            f"{settings.populations or DEFAULT_POPULATIONS}: populations.{capped[0]}.rules.cap asks what users were "
            "shown; expected a timeline store in the gateway's settings (timelines.store)"
        )


def _ports(settings: GatewaySettings) -> None:
    asked = [("", settings.host, settings.port)]
    for name, section in (("http: ", settings.http), ("metrics: ", settings.metrics)):
        if section is not None and section.port:
            asked.append((name, section.host, section.port))
    held = []
    try:
        for name, host, port in asked:
            try:
                held.append(reserve_port(host, port))
                held[-1].listen()  # now a second one of ours finds it taken
            except GatewayError as error:
                raise GatewayError(f"{name}{error}") from None
    finally:
        for one in held:
            one.close()


def _disk(settings: GatewaySettings) -> None:
    place = settings.log
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise GatewayError(f"{place}: expected a folder for the log that can be written, found {error}") from None
    free = shutil.disk_usage(place).free / 2**30
    if free < FREE_GIB:
        raise GatewayError(f"{place}: expected {FREE_GIB:g} GiB free for the log, found {free:.2f}")


def _tokens(settings: GatewaySettings) -> None:
    groups = {"tokens": settings.tokens, "http.tokens": settings.http.tokens if settings.http is not None else {}}
    for group, tokens in groups.items():
        _no_doubles(group, tokens)
    if not settings.tokens and not is_loopback(settings.host) and (settings.tls is None or not settings.tls.client_ca):
        said = f"host {settings.host}: expected tokens, or tls.client_ca, where more than this machine may call"
        raise GatewayError(said)


def _no_doubles(group: str, tokens: dict[str, Token]) -> None:
    seen: dict[str, str] = {}
    for name, token in tokens.items():
        if token.sha256 in seen:
            raise GatewayError(f"{group}.{name}: expected a token of its own, found that of {seen[token.sha256]}")
        seen[token.sha256] = name


def _certificates(settings: GatewaySettings) -> None:
    for section in (settings.tls, settings.http.tls if settings.http is not None else None):
        if section is not None:
            check_certificates(section)


def _timelines(settings: GatewaySettings) -> None:
    if settings.timelines.on:
        settings.timelines.open(settings.workspace, writes=True).close()
