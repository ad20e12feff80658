"""Fuzz what reads bytes that others wrote, guided by coverage: the log's files and records, and requests.

    pip install 'tandem-recommender[fuzz]'
    python bench/fuzz.py wal --seconds 300
    python bench/fuzz.py records --seconds 300
    python bench/fuzz.py requests --seconds 300

`wal` scans files, whole and cut, and checks that no record appears that was not framed; `records` turns payloads into
rows; `requests` decodes and checks messages. Anything but the refusals that are meant ends the run with the input that
did it (atheris writes it to crash-...). The tests do the same by hypothesis, for a shorter time.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/ hides the packages of its names

import contextlib

import typer
from google.protobuf.message import DecodeError

from data.console import console
from data.eventlog import framing, tables
from data.eventlog.framing import HEADER, frame, scan
from data.eventlog.tables import tables_of
from gateway.errors import RefusalError
from gateway.rpc import decoding
from gateway.rpc.decoding import checked_events, request_of
from proto.tandem.v1 import tandem_pb2 as pb


def wal(content: bytes) -> None:
    """A file of any bytes; and a sound file followed by them, whose records stay what they are."""
    for payload in scan(content).payloads:
        assert frame(payload) in content
    sound = HEADER + frame(content[:100]) + frame(content[100:200])
    found = list(scan(sound + content[200:]).payloads)
    assert found[:2] == [content[:100], content[100:200]]
    cut = scan(sound[: len(sound) - 1 - len(content) % len(sound)])
    assert not cut.damage


def records(content: bytes) -> None:
    """Payloads of any bytes: each is a display, an event, or counted as unknown."""
    payloads = [content, content[: len(content) // 2]]
    rows = tables_of(payloads)
    assert len(rows.displays) + len(rows.tracked) + len(rows.unknown) == len(payloads)


def requests() -> Callable[[bytes], None]:
    """Messages of any bytes, against the item table of a made-up marketplace."""
    from data.items import ItemTable
    from tests.support.gateway.stand_ins import catalog

    items = ItemTable.of(catalog())

    def read(content: bytes) -> None:
        for kind in (pb.GetBannerRequest, pb.GetCandidatesRequest, pb.RankRequest):
            with contextlib.suppress(DecodeError, RefusalError):
                request_of(kind.FromString(content).context, items, True)
        with contextlib.suppress(DecodeError, RefusalError):
            checked_events(pb.TrackRequest.FromString(content).events, True)

    return read


def main(
    target: Annotated[str, typer.Argument(help="wal, records or requests.")],
    seconds: Annotated[int, typer.Option(min=1, help="How long.")] = 60,
    seed: Annotated[int, typer.Option(min=1, help="Of the first inputs.")] = 1,
) -> None:
    """Fuzz one of the readers."""
    targets: dict[str, Callable[[], Callable[[bytes], None]]]
    targets = {"wal": lambda: wal, "records": lambda: records, "requests": requests}
    if target not in targets:
        console.print(f"{target}: expected one of {', '.join(targets)}")
        raise typer.Exit(2)
    try:
        import atheris
    except ImportError:
        console.print("atheris is not installed; expected it: pip install 'tandem-recommender[fuzz]'", markup=False)
        raise typer.Exit(2) from None
    read = targets[target]()
    for module in (framing, tables, decoding):
        for function in vars(module).values():
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096"], read)
    atheris.Fuzz()


if __name__ == "__main__":
    typer.run(main)
