"""Client processes that load a gRPC method with ready requests, and an echo server of the gateway's stack beside it."""

import asyncio
import multiprocessing
import socket
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

CANDIDATES = "/tandem.v1.CandidateService/GetCandidates"
_OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
_WARM_UP_SECONDS = 0.25
_KEPT = 50
"""Of so many answers one is kept, for the bytes to be looked at afterwards."""

CONNECTIONS = 2
"""Of each call in flight, used in turn: the kernel gives a connection to one worker for good, and of a few connections
most may fall to one worker. Users are many."""


@dataclass(frozen=True)
class Load:
    """What one client process does for `seconds`.

    Attributes:
        in_flight: closed loop: so many calls are kept going. rate: open loop: calls per second, each at its own moment
            whether those before it are answered or not; its time counts from that moment. At most `in_flight` wait.
    """

    address: str
    method: str
    requests: list[bytes]
    seconds: float
    in_flight: int
    rate: float | None = None


@dataclass
class Played:
    """Microseconds of every call after the warm-up; how many were answered in all, and refused; some answers."""

    taken: list[float]
    answered: int = 0
    refused: int = 0
    answers: list[bytes] | None = None


def play(load: Load, results: Any) -> None:
    """In a process of its own: what `Load` says."""
    try:
        results.put(asyncio.run(_play(load)))
    except BaseException as error:  # whoever waits for the figures must hear of it
        results.put(f"{type(error).__name__}: {error}")
        raise


async def _play(load: Load) -> Played:
    played = Played([], answers=[])
    async with AsyncExitStack() as open_channels:
        channels = [
            await open_channels.enter_async_context(grpc.aio.insecure_channel(load.address, options=_OWN_CONNECTION))
            for _ in range(load.in_flight * CONNECTIONS)
        ]
        began = time.perf_counter()
        starts, ends = began + _WARM_UP_SECONDS, began + _WARM_UP_SECONDS + load.seconds

        async def hand(number: int) -> None:
            calls = [channel.unary_unary(load.method) for channel in channels[number :: load.in_flight]]
            while True:
                before = time.perf_counter()
                if load.rate is not None:
                    due = began + number / load.rate
                    if due > before:
                        await asyncio.sleep(due - before)
                    before = due
                if before > ends:
                    return
                try:
                    turn = number // load.in_flight % CONNECTIONS
                    answer = await calls[turn](load.requests[number % len(load.requests)])
                except grpc.aio.AioRpcError as error:
                    if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                    played.refused += 1
                else:
                    played.answered += 1
                    if before > starts:
                        played.taken.append(1e6 * (time.perf_counter() - before))
                    if number % _KEPT == 0:
                        played.answers.append(answer)
                number += load.in_flight

        await asyncio.gather(*(hand(k) for k in range(load.in_flight)))
    return played


def under_load(loads: list[Load]) -> tuple[dict[str, Any], Played]:
    """One client process per load, all at once: calls per second, percentiles and refusals; and what they saw."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [context.Process(target=play, args=(load, results)) for load in loads]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    if failures := [one for one in found if isinstance(one, str)]:
        raise RuntimeError(f"a client failed: {failures[0]}")
    everything = Played(
        [one for part in found for one in part.taken],
        sum(part.answered for part in found),
        sum(part.refused for part in found),
        [one for part in found for one in part.answers],
    )
    figures = {
        "qps": len(everything.taken) / loads[0].seconds,
        "clients": len(loads),
        "in_flight": sum(load.in_flight for load in loads),
        "refused": everything.refused,
        **percentiles(everything.taken),
    }
    return figures, everything


def spread(
    address: str,
    method: str,
    requests: list[bytes],
    seconds: float,
    in_flight: int,
    rate: float | None = None,
    clients: int = 2,
) -> list[Load]:
    """The load of so many client processes, of fewer where fewer calls are in flight."""
    clients = min(clients, in_flight)
    share = None if rate is None else rate / clients
    own = [requests[k::clients] or requests for k in range(clients)]
    return [Load(address, method, own[k], seconds, in_flight // clients, share) for k in range(clients)]


def echo(port: int, method: str, answer: bytes) -> None:
    """A worker of the echo server: the same stack, no work."""

    async def serve() -> None:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])

        async def handle(message: bytes, context: Any) -> bytes:
            return answer

        _, service, name = method.split("/")
        handler = grpc.unary_unary_rpc_method_handler(handle)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {name: handler})])
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


def echoed(answer: bytes, workers: int, method: str, requests: list[bytes], *shape: Any) -> dict[str, Any]:
    """The figures of an echo server of so many workers that answers every call with these bytes.

    Args:
        shape: what `spread` is given after the requests.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    servers = [context.Process(target=echo, args=(port, method, answer), daemon=True) for _ in range(workers)]
    for server in servers:
        server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(30)
        time.sleep(1)  # the other workers
        return under_load(spread(f"127.0.0.1:{port}", method, requests, *shape))[0]
    finally:
        for server in servers:
            server.terminate()
            server.join()


def percentiles(taken: list[float]) -> dict[str, float]:
    """Of microseconds."""
    return {f"p{q}": float(np.percentile(taken, q)) for q in (50, 99)}
