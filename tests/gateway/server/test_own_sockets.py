"""A process finds its own listeners and connections, and leaves everything else as it was."""

import socket
from pathlib import Path

import pytest

from gateway.server.processes import connections, stop_listening


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_connections_are_counted_and_looking_costs_no_file() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert connections(port) == 0
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        accepted = [server.accept()[0] for _ in clients]
        before = open_files()
        assert [connections(port) for _ in range(50)] == [3] * 50
        assert open_files() == before
        for one in (accepted[0], *clients):
            one.close()
        assert connections(port) == 2
        for one in accepted:
            one.close()


def test_a_port_that_is_listened_on_no_more_refuses_the_next_and_keeps_what_it_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted = server.accept()[0]
        before = open_files()
        stop_listening(port)
        assert open_files() == before
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=2)
        client.sendall(b"still here")
        assert accepted.recv(100) == b"still here"
        socket.create_connection(other.getsockname()).close()
        client.close(), accepted.close()
