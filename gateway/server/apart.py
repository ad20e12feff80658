"""Gateways beside each other: two of one port cannot be, two of one workspace are told apart."""

import logging
import socket
from contextlib import ExitStack
from pathlib import Path

from data.eventlog import EventLogError
from data.locks import locked
from gateway.errors import GatewayError

logger = logging.getLogger(__name__)


def hold_name(host: str, port: int) -> socket.socket:
    """Be the only gateway that starts on a port: before anyone listens, two may bind it. Held until it is closed.

    Raises:
        GatewayError: another gateway of this machine is there.
    """
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0tandem-gateway-{host}-{port}")
    except OSError:
        name.close()
        raise GatewayError(f"{host}:{port}: expected a free port to listen on, found: another gateway there") from None
    return name


def tell_others_apart(log: Path) -> ExitStack:
    """Say so if another gateway serves the workspace of this log: both log there. Held until it is closed.

    Raises:
        EventLogError: the log's folder cannot be made.
    """
    held = ExitStack()
    busy = f"another gateway ({{holder}}) serves the workspace of {log} too: both log there"
    try:
        log.mkdir(parents=True, exist_ok=True)
        held.enter_context(locked(log / ".gateway", busy, error=GatewayError))
    except GatewayError as found:
        logger.warning("%s", found)
    except OSError as error:
        raise EventLogError(f"{log}: expected to write the event log there, found {error.strerror}") from error
    return held
