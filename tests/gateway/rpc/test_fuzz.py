"""Whatever arrives, the gateway answers with a status that says what was wrong, and goes on: every method of every
service, by messages made from their descriptors and by bytes made from nothing."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import C_USER, GatewayProcess, context

METHODS = [
    (f"/{service.full_name}/{method.name}", method.input_type)
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
ANSWERS = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"}
KNOWN = st.sampled_from(["books", "shoes", "empty", "books-001", "shoes-002", "u1", "FR", "gbo", "led", "", "C"])
NUMBERS = (0, 1, 2, 6, 50, 500, 2**31 - 1)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: st.one_of(KNOWN, st.text(max_size=200)),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=50),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_INT32: st.one_of(st.sampled_from(NUMBERS), st.integers(-(2**31), 2**31 - 1)),
    FieldDescriptor.TYPE_UINT32: st.one_of(st.sampled_from(NUMBERS), st.integers(0, 2**32 - 1)),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_ENUM: st.one_of(st.integers(0, 5), st.integers(-(2**31), 2**31 - 1)),
}


def messages(kind: Descriptor) -> st.SearchStrategy[Message]:
    fields = {
        field.name: st.lists(_values(field), max_size=5) if field.is_repeated else _values(field)
        for field in kind.fields
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: GetMessageClass(kind)(**given))


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return messages(field.message_type)
    return _SCALARS[field.type]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("fuzz") / "w", workers=1, source_ms=2000, total_ms=5000) as running:
        yield running
        with running.client() as client:
            assert len(client.get_banner(context(C_USER), slots=3, preview=True).slots) == 3
        assert "Traceback" not in running.said() and "ended" not in running.said()


@pytest.fixture(scope="module")
def channel(gateway: GatewayProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.address) as made:
        yield made


def status(channel: grpc.Channel, method: str, content: bytes) -> str:
    try:
        channel.unary_unary(method)(content, timeout=20, wait_for_ready=True)
    except grpc.RpcError as error:
        assert error.details()
        return str(error.code().name)
    return "OK"


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(("method", "kind"), METHODS, ids=[name.rpartition("/")[2] for name, _ in METHODS])
@QUICK
@given(data=st.data())
def test_any_message_is_answered_or_refused_with_a_sentence(
    channel: grpc.Channel, method: str, kind: Descriptor, data: st.DataObject
) -> None:
    content = data.draw(messages(kind)).SerializeToString()
    assert status(channel, method, content) in ANSWERS


@pytest.mark.parametrize(("method", "kind"), METHODS, ids=[name.rpartition("/")[2] for name, _ in METHODS])
@QUICK
@given(data=st.data())
def test_any_bytes_are_answered_or_refused_with_a_sentence(
    channel: grpc.Channel, method: str, kind: Descriptor, data: st.DataObject
) -> None:
    """From nothing, or a message with bytes of it changed."""
    content = bytearray(
        data.draw(st.one_of(st.binary(max_size=400), messages(kind).map(lambda one: one.SerializeToString())))
    )
    for _ in range(data.draw(st.integers(0, 3)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert status(channel, method, bytes(content)) in ANSWERS
