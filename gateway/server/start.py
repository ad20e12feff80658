"""Start a gateway: first whatever can be checked quickly, then the processes' common ground, then the workers."""

import logging
import os

from data.bundle import Bundle
from gateway.access import check_certificates
from gateway.experiment.populations import DEFAULT_POPULATIONS, KEPT_POPULATIONS, WatchedExperiment
from gateway.server.beside import Beside
from gateway.server.check import check_caps
from gateway.server.supervisor import Supervisor
from gateway.settings.gateway import GatewaySettings


def run_gateway(config: GatewaySettings, beside: Beside | None = None) -> None:
    """Serve a workspace's bundle until SIGTERM or SIGINT.

    Libraries that compute are loaded here once, so that every worker, and every one that replaces another, starts at
    once and shares their pages. Nothing of gRPC is loaded before the fork.

    Args:
        beside: the processes to run beside the workers.
    Raises:
        TandemError: no bundle, a damaged one, a wrong populations file, a port in use, a log that cannot be written.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before these libraries are loaded: a worker computes in one thread
    from candidates.sources import SOURCES
    from gateway.banner.runtime import Runtime

    populations = config.populations or DEFAULT_POPULATIONS
    experiment = WatchedExperiment(populations, tuple(SOURCES), kept=config.log / KEPT_POPULATIONS)
    check_caps(config, experiment.current)
    supervisor = Supervisor(config, Runtime.load, experiment, beside)
    Bundle.open(config.link)
    if config.tls is not None:
        check_certificates(config.tls)
    if config.timelines.on:
        config.timelines.open(config.workspace, writes=True).close()
    logging.disable(logging.INFO)  # one of the libraries announces each of its files as it loads
    import ranker.banner.scorer  # noqa: F401

    logging.disable(logging.NOTSET)
    supervisor.run()
