"""Stage one and the ranker in processes of their own: the same banners to the byte, and marks where one is missing."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from data.eventlog import read_displays
from data.ids import UNKNOWN
from gateway.client import GatewayClient
from gateway.client.gateway_client import metadata_of
from gateway.errors import RefusalError
from gateway.rpc.decoding import request_of
from gateway.tiers.contexts import context_of
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc
from tests.support.gateway.gateway_process import C_USER, GatewayProcess, context
from tests.support.gateway.stand_ins import make_bundle, stand_in_runtime
from tests.support.log_records import NOON

pytestmark = pytest.mark.slow


RULES = "rules: {hold_out: {items: 0.3, users: 0.5}, per_category: {most: 2}}\n"


TOKEN = "the token of the gateway in front"


class Split:
    """A gateway whose stages run in two others, and a whole one to compare it with."""

    def __init__(self, root: Path) -> None:
        self.candidates = GatewayProcess(root / "candidates", tier="candidates", workers=1)
        token, digest = root / "token", hashlib.sha256(TOKEN.encode()).hexdigest()
        token.write_text(TOKEN)
        asks = {"tokens": f"{{front: {{sha256: '{digest}', methods: [rank]}}}}"}
        self.ranker = GatewayProcess(root / "ranker", tier="ranker", workers=1, connection_seconds=1, **asks)
        self.whole = GatewayProcess(root / "whole", replay="true", workers=1)
        tiers = {
            "tiers.candidates": self.candidates.address,
            "tiers.ranker": self.ranker.address,
            "tiers.limit_ms": 1_000,
            "tiers.upstream.token_file": token,
        }
        self.split = GatewayProcess(root / "split", replay="true", workers=1, **tiers)
        for one in (self.whole, self.split):
            one.populations.write_text(one.populations.read_text() + RULES)
        version = self.whole.files.current.resolve()
        for one in (self.candidates, self.ranker, self.split):  # all serve the bundle of the whole one
            link = one.files.current
            link.unlink()
            link.symlink_to(version)


@pytest.fixture(scope="module")
def tiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    made = Split(tmp_path_factory.mktemp("tiers"))
    with ExitStack() as stack:
        for one in (made.candidates, made.ranker, made.whole, made.split):
            stack.enter_context(one)
        yield made


ASKED = [
    context(ts_us=NOON),
    context(user=C_USER, history=pb.History(item_ids=["books-001", "shoes-004"], kinds=[pb.VIEW, pb.SALE]), ts_us=NOON),
    context(user="u7", exclude_item_ids=["books-039", "books-038"], publisher="news", device="phone", ts_us=NOON),
    context(user="u8", merchant="tiny", country="", ts_us=NOON),
    context(user="u9", merchant="empty", ts_us=NOON),
    context(user="u5", filter=pb.Filter(categories=["books/1"], max_price=30), ts_us=NOON),
]


@pytest.mark.parametrize("asked", ASKED, ids=range(len(ASKED)))
def test_banners_are_the_same_to_the_byte_and_so_is_what_is_logged(tiers: Split, asked: pb.Context) -> None:
    with tiers.whole.client() as whole, tiers.split.client() as split:
        expected, found = whole.get_banner(asked, slots=5), split.get_banner(asked, slots=5)
    assert [slot.SerializeToString() for slot in found.slots] == [slot.SerializeToString() for slot in expected.slots]
    assert not found.degraded and found.ranker_share == expected.ranker_share
    if expected.slots:
        rows = [_logged(tiers.whole, expected.display_id), _logged(tiers.split, found.display_id)]
        for row in rows:
            del row["display_id"], row["stage_us"]
        assert rows[0] == rows[1]
        assert {"candidates", "ranker"} <= {one.stage for one in found.stage_times}


def _logged(gateway: GatewayProcess, display_id: str) -> dict:  # type: ignore[type-arg]
    return next(row for row in read_displays(gateway.files.log).to_pylist() if row["display_id"] == display_id)


def test_a_request_goes_there_and_back_unchanged(tiers: Split) -> None:
    runtime = stand_in_runtime(tiers.whole.files.current)
    items = runtime.items
    for asked in ASKED:
        request = request_of(asked, items, replay=True)
        again = request_of(context_of(request, runtime), items, replay=True)
        assert (again.user_id, again.merchant, again.country, again.ts) == (
            request.user_id,
            request.merchant,
            request.country,
            request.ts,
        )
        assert (again.publisher, again.device) == (request.publisher, request.device)
        for name in ("items", "kinds", "ts"):
            assert getattr(again.history, name).tolist() == getattr(request.history, name).tolist()
        assert again.exclude.tolist() == request.exclude.tolist() and UNKNOWN not in again.exclude
        assert (again.allowed and again.allowed.asked) == (request.allowed and request.allowed.asked)


def test_a_tier_serves_its_stage_alone_and_logs_nothing(tiers: Split) -> None:
    with tiers.candidates.client() as client:
        assert client.get_candidates(context(ts_us=NOON), k=2).sources
        for call in (lambda: client.get_banner(context(), slots=1), lambda: client.rank(context(), ["books-001"])):
            with pytest.raises(RefusalError, match="UNIMPLEMENTED"):
                call()
    assert not list(tiers.candidates.files.log.glob("wal/*.wal"))


def test_the_ranker_says_what_it_saw_in_the_order_asked(tiers: Split) -> None:
    with grpc.insecure_channel(tiers.ranker.address) as channel:
        history = pb.History(item_ids=["books-001", "gone"])
        asked = context(history=history, ts_us=NOON)
        items = ["books-009", "gone", "books-002"]
        asked = pb.RankRequest(context=asked, item_ids=items, features=True)
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            rpc.RankerServiceStub(channel).Rank(asked)
        answer = rpc.RankerServiceStub(channel).Rank(asked, metadata=metadata_of(TOKEN))
    assert answer.dense_names == ["price", "history_length"] and answer.recent_item_ids == ["books-001"]
    assert answer.dense[:2] == [14.0, 1.0] and answer.dense[4:] == [7.0, 1.0] and answer.dense[2] != answer.dense[2]


def test_a_tier_that_dies_leaves_marks_and_is_asked_again_once_it_is_back(tiers: Split) -> None:
    with tiers.split.client() as client:
        whole = client.get_banner(context(), slots=3, preview=True)
        tiers.ranker.__exit__(None, None, None)
        _until(client, ["ranker: away"])
        in_their_own_order = client.get_banner(context(), slots=3, preview=True)
        assert len(in_their_own_order.slots) == 3 and in_their_own_order.ranker_share == 0
        tiers.candidates.__exit__(None, None, None)
        _until(client, ["candidates: away"])  # and nothing is left to rank
        tiers.candidates.__enter__()
        tiers.ranker.__enter__()
        _until(client, [])
        again = client.get_banner(context(), slots=3, preview=True)
        assert [slot.SerializeToString() for slot in again.slots] == [slot.SerializeToString() for slot in whole.slots]


def test_a_late_tier_is_done_without_and_what_its_own_stages_miss_is_marked(tiers: Split) -> None:
    with tiers.split.client() as client:
        tiers.candidates.fault('{"led": "raise"}')
        found = client.get_banner(context(user=C_USER), slots=3)
        assert found.degraded == ["led: ValueError"] and len(found.slots) == 3
        tiers.candidates.fault("{}")
        tiers.ranker.fault('{"ranker": "sleep-in-c 2"}')
        began = time.monotonic()
        found = client.get_banner(context(user=C_USER), slots=3)
        assert time.monotonic() - began < 1.9
        assert len(found.slots) == 3 and [one.split(": ")[0] for one in found.degraded] == ["ranker"]
        tiers.ranker.fault("{}")
        _until(client, [])


def test_a_tier_of_another_bundle_is_used_and_marked(tiers: Split) -> None:
    make_bundle(tiers.ranker.files, note="another")
    with tiers.split.client() as client:
        _until(client, ["ranker: another bundle"])
        found = client.get_banner(context(), slots=3)
        assert len(found.slots) == 3 and found.ranker_share == 1


def _until(client: GatewayClient, degraded: list[str], seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while (found := list(client.get_banner(context(), slots=3, preview=True).degraded)) != degraded:
        assert time.monotonic() < ends, f"banners stay marked {found}; expected {degraded}"
        time.sleep(0.1)
