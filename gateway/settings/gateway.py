"""`gateway.yaml`: all that `tandem gateway serve` can be told."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from data.settings import Positive, Settings
from data.workspace import Workspace
from gateway.settings.access import RateSettings, TlsSettings, Token
from gateway.settings.limits import Limits
from gateway.settings.metrics import MetricsSettings
from gateway.settings.retention import Retention
from gateway.settings.tiers import Tier, TierSettings
from gateway.settings.tracing import TracingSettings
from gateway.settings.web import WebSettings
from gateway.sinks.settings import KafkaSettings
from gateway.timelines.settings import TimelineSettings

Kind = Literal["view", "click", "landing", "sale"]


class GatewaySettings(Settings):
    """Where the gateway listens, what it serves, and how.

    Attributes:
        workspace: the folder of this experiment's files; the log is written there.
        bundle: a bundle's folder; by default the workspace's current one, which is followed when it changes.
        populations: who is served from which sources (a YAML file, which is followed); by default everybody from all.
        host, port: where the gRPC gateway listens; this machine only by default. workers: processes that answer.
        exclude_kinds: items that a request's history holds so are not proposed, whatever it asks.
        replay: take the times that requests name, instead of the clock's.
        compact_seconds: between two compactions of the log.
        connection_seconds: after so long (give or take a tenth) a client is asked to connect anew, between two calls:
            so clients spread over the workers, and leave one that is replaced.
        drain_seconds: a stopping worker's time to finish what it has begun.
        memory_mib: a worker that has grown by so much since it was ready is replaced, its clients between two calls.
        start_seconds: a worker that is not ready by then is killed, and a bundle that was coming up with it refused.
        silence_seconds: a worker that gives no sign of life for so long is killed and replaced.
        limits: of one worker, for each stage and for all it does at once.
        retention: how long bundles and the log are kept.
        tls: certificates of the gRPC gateway; without this section it does not encrypt.
        tokens: clients of the gRPC gateway, by name; without any, everybody who reaches it may call.
        rate: how often one client may call; no limit without it.
        metrics: figures for Prometheus; nothing is counted without this section.
        tracing: where spans are sent; nowhere without this section.
        log_format: of the operator's log: text, or json: a line an object, with ids of requests.
        http: the HTTP server beside the workers; none without this section.
        timelines: what users did, remembered for requests that do not say.
        kafka: where the log is sent on to.
        tier: serve this stage alone, for other gateways: candidates or ranker. Nothing is logged here then.
        tiers: which stages of banners other gateways run.
    """

    model_config = ConfigDict(title="gateway settings")

    workspace: Path = Path("workspace")
    bundle: Path | None = None
    populations: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 50051
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    exclude_kinds: tuple[Kind, ...] = ()
    replay: bool = False
    compact_seconds: Positive = 60.0
    connection_seconds: Positive = 10.0
    drain_seconds: Positive = 10.0
    memory_mib: Positive = 1024.0
    start_seconds: Positive = 600.0
    silence_seconds: Positive = 15.0
    limits: Limits = Limits()
    retention: Retention = Retention()
    tls: TlsSettings | None = None
    tokens: dict[str, Token] = Field(default_factory=dict)
    rate: RateSettings | None = None
    metrics: MetricsSettings | None = None
    tracing: TracingSettings | None = None
    log_format: Literal["text", "json"] = "text"
    http: WebSettings | None = None
    timelines: TimelineSettings = TimelineSettings()
    kafka: KafkaSettings = KafkaSettings()
    tier: Tier | None = None
    tiers: TierSettings = TierSettings()

    @property
    def files(self) -> Workspace:
        return Workspace(self.workspace)

    @property
    def link(self) -> Path:
        """The bundle's folder, or the link that is followed when it changes."""
        return self.bundle or self.files.current

    @property
    def log(self) -> Path:
        """The event log's folder."""
        return self.files.log

    @property
    def address(self) -> str:
        """Where a process on this machine reaches the gRPC gateway."""
        return address_of("127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host, self.port)


def address_of(host: str, port: int) -> str:
    """As gRPC reads it: an IPv6 host stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
