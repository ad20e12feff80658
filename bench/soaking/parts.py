"""A scratch workspace whose banners are known, a gateway on it, and clients that remember what they were told."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from data.bundle import PARTS, BundleDraft, in_service
from data.simulator import Marketplace
from data.workspace import Workspace
from gateway.banner.assembly import assemble
from gateway.banner.runtime import Runtime
from gateway.client import GatewayClient
from gateway.demo.traffic import banner_context
from gateway.errors import GatewayError
from gateway.experiment.populations import Experiment, load_experiment
from gateway.rpc.decoding import request_of
from gateway.settings.limits import Limits
from proto.tandem.v1 import tandem_pb2 as pb

ROOT = Path(__file__).parents[2]
SLOTS, CONTEXTS, CLIENTS = 6, 150, 4


class Place:
    """A scratch workspace with two bundles that differ in what is available, and what each would show."""

    def __init__(self, root: Path, source: Workspace | None) -> None:
        """`source`: a demo's workspace, None: stand-ins."""
        self.files, self.stand_in = Workspace(root), source is None
        self._per_source = 50 if self.stand_in else Limits().per_source
        self.populations = root / "populations.yaml"
        self.populations.write_text(
            "experiment: soak\nsalt: soak\npopulations:\n"
            "  A: {share: 0.3, sources: [gbo]}\n  C: {share: 0.7, sources: [gbo, cbo, led]}\n"
        )
        self.experiment: Experiment = load_experiment(self.populations)
        self.load: Callable[[Path], Runtime] = Runtime.load
        if source is None:
            from tests.support.gateway.stand_ins import make_bundle, stand_in_runtime

            make_bundle(self.files, "backstop")
            self.load = stand_in_runtime
            self.contexts = [
                pb.Context(user_id=f"u{k}", merchant_id=("books", "shoes", "tiny")[k % 3], country="FR", ts_us=10**15)
                for k in range(CONTEXTS)
            ]
        else:
            shutil.copyfile(source.root / "origin.json", root / "origin.json")
            shutil.copytree(source.bundles, self.files.bundles, symlinks=True)
            market = Marketplace.load(source.simulator)
            chosen = np.random.default_rng(0).integers(0, len(market.opportunities), CONTEXTS)
            self.contexts = [banner_context(market, int(one)) for one in chosen]
        first = in_service(self.files)
        assert first is not None
        with BundleDraft(self.files) as draft:
            draft.take(first, [part for part in PARTS if first.has(part)])
            path = draft.path / "catalog" / "available.npy"
            available = np.load(path)
            available[::7] = False
            path.unlink()  # its bytes are shared
            np.save(path, available)
            self.bundles = (first, draft.seal())
        self.expected = {bundle.version: self._banners(bundle.path) for bundle in self.bundles}

    def _banners(self, bundle: Path) -> list[list[str]]:
        runtime, found = self.load(bundle), []
        for context in self.contexts:
            sources = self.experiment.assignment(context.user_id).population.sources
            banner = assemble(runtime, request_of(context, runtime.items, True), sources, SLOTS, self._per_source)
            found.append([runtime.items.items.id(slot.item) for slot in banner.slots])
        return found

    def fault(self, text: str) -> None:
        beside = self.files.root / ".faults"
        beside.write_text(text)
        beside.replace(self.files.root / "faults.json")


class Gateway:
    """A gateway in a process of its own."""

    def __init__(self, place: Place, workers: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.address, self._output = f"127.0.0.1:{self.port}", place.files.root / "gateway.txt"
        settings = {"replay": "true", "workers": workers, "compact_seconds": 5, "silence_seconds": 3}
        settings |= {"connection_seconds": 2, "limits.total_ms": 400}
        if place.stand_in:
            command = ["-m", "tests.support.gateway.stand_in_gateway", str(place.files.root), str(self.port)]
            command += [f"{name.removeprefix('limits.')}={value}" for name, value in settings.items()]
        else:
            command = ["-m", "tandem", "gateway", "serve", "-w", str(place.files.root), "--port", str(self.port)]
            command += ["--populations", str(place.populations)]
            command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        with self._output.open("a") as output:
            self.process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=output, stderr=output)
        with GatewayClient(self.address) as client:
            client.wait_until_ready(120)
        while "is in service on" not in self.said():  # a worker that dies before all are ready ends the start
            if self.process.poll() is not None:
                raise SystemExit(f"the gateway ended with exit code {self.process.returncode}: {self.said()[-2000:]}")
            time.sleep(0.1)

    def workers(self) -> list[psutil.Process]:
        """Those that answer."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if any(one.laddr.port == self.port for one in child.net_connections("tcp") if one.status == "LISTEN"):
                    found.append(child)
        return found

    def size(self) -> dict[str, float]:
        """Of its one worker."""
        (worker,) = self.workers()
        own = psutil.Process(self.process.pid)
        size = {"rss_mib": worker.memory_info().rss / 2**20, "threads": worker.num_threads()}
        return size | {"descriptors": worker.num_fds(), "supervisor_descriptors": own.num_fds()}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, f"the gateway ended with {self.process.returncode}: {self._output}"

    def said(self) -> str:
        return self._output.read_text()


class Traffic:
    """Clients that ask for banners and track clicks until told to stop, and remember what they were told."""

    def __init__(self, place: Place, address: str) -> None:
        self._place, self._address, self._stop = place, address, threading.Event()
        self.answers, self.degraded, self.failed = 0, 0, Counter[str]()
        self.wrong: list[str] = []
        self.displays: list[str] = []
        self.sent: set[str] = set()
        self.acknowledged: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        drawn = np.random.default_rng(number)
        while not self._stop.is_set():
            with GatewayClient(self._address, timeout=5) as client:
                for _ in range(500):
                    if self._stop.is_set():
                        return
                    try:
                        self._once(client, int(drawn.integers(CONTEXTS)), drawn.random() < 0.3)
                    except GatewayError as error:
                        self.failed[getattr(error, "status", "nobody answers")] += 1

    def _once(self, client: GatewayClient, at: int, click: bool) -> None:
        context = self._place.contexts[at]
        answer = client.get_banner(context, slots=SLOTS)
        items = [slot.item_id for slot in answer.slots]
        self.answers += 1
        if answer.display_id:
            self.displays.append(answer.display_id)
        if [mark for mark in answer.degraded if not mark.startswith("log")]:
            self.degraded += 1
        elif items != self._place.expected.get(answer.bundle_version, [[]] * CONTEXTS)[at]:
            self.wrong.append(f"{answer.bundle_version} showed {items} to {context.user_id}")
        if click and items and answer.display_id:
            event = pb.TrackedEvent(
                event_id=answer.display_id, user_id=context.user_id, kind=pb.CLICK, ts_us=context.ts_us
            )
            event.item_id, event.merchant_id, event.display_id = items[0], context.merchant_id, answer.display_id
            self.sent.add(event.event_id)
            if client.track([event]) == 1:
                self.acknowledged.append(event.event_id)
