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

_METHOD = "/tandem.v1.CandidateService/GetCandidates"
_OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]

CONNECTIONS = 2
"""Of each call in flight, used in turn: the kernel gives a connection to one worker for good, and of a few connections
most may fall to one worker. Users are many."""


@dataclass(frozen=True)
class Load:
    """What one client process does: for `seconds`, keep `in_flight` of the ready requests going."""

    address: str
    requests: list[bytes]
    seconds: float
    in_flight: int


def play(load: Load, results: Any) -> None:
    """In a process of its own: the microseconds of every call after a quarter second of warm-up."""
    try:
        results.put(asyncio.run(_play(load)))
    except BaseException as error:  # whoever waits for the figures must hear of it
        results.put(f"{type(error).__name__}: {error}")
        raise


async def _play(load: Load) -> tuple[list[float], int]:
    taken: list[float] = []
    refused = [0]
    async with AsyncExitStack() as open_channels:
        channels = [
            await open_channels.enter_async_context(grpc.aio.insecure_channel(load.address, options=_OWN_CONNECTION))
            for _ in range(load.in_flight * CONNECTIONS)
        ]
        starts = time.perf_counter() + 0.25
        ends = starts + load.seconds

        async def hand(number: int) -> None:
            calls = [channel.unary_unary(_METHOD) for channel in channels[number :: load.in_flight]]
            while True:
                before = time.perf_counter()
                if before > ends:
                    return
                try:
                    turn = number // load.in_flight % CONNECTIONS
                    await calls[turn](load.requests[number % len(load.requests)])
                except grpc.aio.AioRpcError as error:
                    if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                    refused[0] += 1
                else:
                    if before > starts:
                        taken.append(1e6 * (time.perf_counter() - before))
                number += load.in_flight

        await asyncio.gather(*(hand(k) for k in range(load.in_flight)))
    return taken, refused[0]


def under_load(address: str, requests: list[bytes], seconds: float, clients: int, in_flight: int) -> dict[str, Any]:
    """Answered calls per second, percentiles over all clients, and how many calls were refused."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    load = Load(address, requests, seconds, in_flight)
    processes = [context.Process(target=play, args=(load, results)) for _ in range(clients)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    if failures := [one for one in found if isinstance(one, str)]:
        raise RuntimeError(f"a client failed: {failures[0]}")
    taken = [one for times, _ in found for one in times]
    return {
        "qps": len(taken) / seconds,
        "clients": clients,
        "in_flight": in_flight,
        "refused": sum(refused for _, refused in found),
        **percentiles(taken),
    }


def echo(port: int, answer: bytes) -> None:
    """A worker of the echo server: the same stack, no work."""

    async def serve() -> None:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])

        async def handle(message: bytes, context: Any) -> bytes:
            return answer

        method = grpc.unary_unary_rpc_method_handler(handle)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tandem.v1.CandidateService", {"GetCandidates": method})]
        )
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


def echoed(answer: bytes, requests: list[bytes], workers: int, shape: tuple[float, int, int]) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    servers = [context.Process(target=echo, args=(port, answer), daemon=True) for _ in range(workers)]
    for server in servers:
        server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(30)
        time.sleep(1)  # the other workers
        return under_load(f"127.0.0.1:{port}", requests, *shape)
    finally:
        for server in servers:
            server.terminate()
            server.join()


def percentiles(taken: list[float]) -> dict[str, float]:
    """Of microseconds."""
    return {f"p{q}": float(np.percentile(taken, q)) for q in (50, 99)}
