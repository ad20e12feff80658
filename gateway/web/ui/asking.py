"""Where the pages' banners come from: a gateway, or the bundle in service read in this process."""

import contextlib
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from google.protobuf.message import Message
from starlette.concurrency import run_in_threadpool

from data.bundle import followed
from data.errors import TandemError
from data.workspace import Workspace
from gateway.banner.assembly import banner_stages, candidate_stages, candidates_per_source, off_stages
from gateway.banner.filling import Filling
from gateway.banner.proposing import Proposing
from gateway.banner.runtime import Runtime
from gateway.banner.stages import run, start
from gateway.errors import GatewayError, RefusalError
from gateway.experiment.populations import WatchedExperiment
from gateway.rpc.decoding import request_of
from gateway.rpc.encoding import banner_response, candidates_response, known_beforehand
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2 as pb


class LoadingError(RefusalError):
    """The bundle is not there yet: ask again."""


class Asked(Protocol):
    """Answers previews: method `banner` or `candidates`, and its message; `gateway.web.upstream.Upstream` is one."""

    async def call(self, method: str, message: Message) -> Any:
        """The response. Raises TandemError with a sentence."""
        ...


class Here:
    """Banners of the bundle in service, assembled in this process without deadlines; nothing is logged."""

    def __init__(self, workspace: Workspace, populations: Path) -> None:
        self._workspace, self._populations = workspace, populations
        self._runtime: Runtime | None = None
        self._experiment: WatchedExperiment | None = None
        self._loading = threading.Lock()
        self._began = 0.0

    def warm(self) -> None:
        """Load the bundle meanwhile: its libraries alone take seconds. `call` refuses until it is there."""

        def load() -> None:
            with contextlib.suppress(TandemError):  # `call` will say it
                self.load()
            self._began = 0.0

        self._began = time.monotonic()
        threading.Thread(target=load, name="load", daemon=True).start()

    async def call(self, method: str, message: Message) -> Any:
        """Raises TandemError: no bundle, one that is being loaded, or a request that a gateway would refuse."""
        if began := self._began:
            told = f"the bundle is being loaded since {time.monotonic() - began:.0f} s; ask again in a moment"
            raise LoadingError("UNAVAILABLE", told, Reason.NO_GATEWAY)
        return await run_in_threadpool(self._banner if method == "banner" else self._candidates, message)

    def load(self) -> Runtime:
        """The bundle in service, loaded anew where another one came into service."""
        with self._loading:
            path = followed(self._workspace.current)
            if not path.is_dir():
                raise GatewayError(f"{self._workspace.root} has no bundle in service: expected one of `tandem train`")
            if self._runtime is None or self._runtime.version != path.name:
                self._runtime = Runtime.load(path)
            return self._runtime

    def _banner(self, message: pb.GetBannerRequest) -> pb.GetBannerResponse:
        runtime = self.load()
        if self._experiment is None:
            self._experiment = WatchedExperiment(self._populations, None)
        self._experiment.refresh()
        assigned = self._experiment.current.assignment(message.context.user_id, message.population)
        request = request_of(message.context, runtime.items, replay=False)
        asked = Filling(request=request, per_source=candidates_per_source(message.slots), slot_count=message.slots)
        rules = assigned.population.rules
        off = rules.switched_off.get(message.context.merchant_id, "")
        stages = off_stages(runtime, off) if off else banner_stages(runtime, assigned.population.sources, rules=rules)
        done = run(start(asked, stages))
        return pb.GetBannerResponse.FromString(banner_response(runtime, known_beforehand(assigned, runtime), done))

    def _candidates(self, message: pb.GetCandidatesRequest) -> pb.GetCandidatesResponse:
        runtime = self.load()
        request = request_of(message.context, runtime.items, replay=False, user_required=False)
        asked = Proposing(request=request, per_source=message.k)
        stages = candidate_stages(runtime, list(runtime.sources), explain=message.explain)
        return candidates_response(runtime, run(start(asked, stages)))
