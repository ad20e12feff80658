"""Start a gateway: first whatever can be checked quickly, then the processes' common ground, then the workers."""

import dataclasses
import logging
import os
from collections.abc import Sequence

from data.bundle import Bundle
from gateway.server.companion import Companion
from gateway.server.config import ServerConfig
from gateway.server.supervisor import Supervisor


def run_gateway(config: ServerConfig, beside: Sequence[str] = ()) -> None:
    """Serve a workspace's bundle until SIGTERM or SIGINT.

    Libraries that compute are loaded here once, so that every worker, and every one that replaces another, starts at
    once and shares their pages. Nothing of gRPC is loaded before the fork.

    Args:
        beside: the command of the HTTP server, if there is to be one.
    Raises:
        TandemError: no bundle, a damaged one, a wrong populations file, a port in use, a log that cannot be written.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before these libraries are loaded: a worker computes in one thread
    from candidates.sources import SOURCES
    from gateway.banner.runtime import Runtime

    if config.known_sources is None:
        config = dataclasses.replace(config, known_sources=tuple(SOURCES))
    companion = Companion("the HTTP server", beside) if beside else None
    supervisor = Supervisor(config, Runtime.load, companion)
    Bundle.open(config.bundle)
    logging.disable(logging.INFO)  # one of the libraries announces each of its files as it loads
    import ranker.banner.scorer  # noqa: F401

    logging.disable(logging.NOTSET)
    supervisor.run()
