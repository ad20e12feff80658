"""What goes wrong around a gateway, made to go wrong."""

import json
import resource
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import grpc
import numpy as np
import psutil

from bench.soaking.parts import SLOTS, Gateway, Place
from data.bundle import in_service, publish
from proto.tandem.v1 import tandem_pb2 as pb

METHODS = ("BannerService/GetBanner", "CandidateService/GetCandidates", "TrackingService/Track", "RankerService/Rank")


class Trouble:
    """What goes wrong, one thing after another."""

    def __init__(self, place: Place, gateway: Gateway) -> None:
        self._place, self._gateway, self._drawn = place, gateway, np.random.default_rng(1)
        self.kinds: dict[str, Callable[[], None]] = {
            "kill": lambda: self._signal(signal.SIGKILL),
            "stop": lambda: self._signal(signal.SIGSTOP),
            "reload": self._reload,
            "hang-up": lambda: gateway.process.send_signal(signal.SIGHUP),
            "full disk": self._full_disk,
            "garbage": self._garbage,
            "cancel storm": self._cancel_storm,
            "crashing clients": self._crashing_clients,
        }
        if place.stand_in:
            self.kinds["slow source"] = lambda: self._fault({"led": "sleep 0.5"})
            self.kinds["failing ranker"] = lambda: self._fault({"ranker": "raise"})
            self.kinds["frozen disk"] = lambda: self._fault({"log": "sleep 0.7", "disk": "sleep 0.7"})
        self.done = Counter[str]()

    def for_seconds(self, seconds: float) -> None:
        ends, kinds = time.monotonic() + seconds, list(self.kinds)
        while time.monotonic() < ends:
            kind = kinds[self.done.total()] if self.done.total() < len(kinds) else str(self._drawn.choice(kinds))
            self.kinds[kind]()
            self.done[kind] += 1
            time.sleep(float(self._drawn.uniform(0.5, 2.5)))

    def _signal(self, number: int) -> None:
        workers = self._gateway.workers()
        if workers:
            with suppress(psutil.Error):
                workers[int(self._drawn.integers(len(workers)))].send_signal(number)

    def _reload(self) -> None:
        now = in_service(self._place.files)
        first, second = self._place.bundles
        publish(self._place.files, second if now is None or now.version == first.version else first, allow=True)

    def _full_disk(self) -> None:
        """No file of a worker may grow."""
        limits = {worker.pid: resource.prlimit(worker.pid, resource.RLIMIT_FSIZE) for worker in self._gateway.workers()}
        for pid, (_, hard) in limits.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (8, hard))
        time.sleep(0.5)
        for pid, before in limits.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    def _fault(self, faults: dict[str, str]) -> None:
        self._place.fault(json.dumps(faults))
        time.sleep(1)
        self._place.fault("{}")

    def _garbage(self) -> None:
        with grpc.insecure_channel(self._gateway.address) as channel:
            for name in METHODS:
                ask = channel.unary_unary(f"/tandem.v1.{name}")
                for length in (0, 1, 17, 1000, 600_000):
                    with suppress(grpc.RpcError):
                        ask(self._drawn.bytes(length), timeout=2)

    def _cancel_storm(self) -> None:
        body = pb.GetBannerRequest(context=self._place.contexts[0], slots=SLOTS, preview=True).SerializeToString()
        with grpc.insecure_channel(self._gateway.address) as channel:
            ask = channel.unary_unary(f"/tandem.v1.{METHODS[0]}")
            calls = [ask.future(body, timeout=2) for _ in range(300)]
            for call in calls:
                call.cancel()

    def _crashing_clients(self) -> None:
        """Connections that end without a word, in the middle of a frame."""
        for length in range(0, 60, 3):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._gateway.port), timeout=1) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.sendall(
                    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + self._drawn.bytes(60))[:length]
                )
