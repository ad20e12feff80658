from proto.tandem.v1 import tandem_pb2 as _tandem_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DisplayRecord(_message.Message):
    __slots__ = ("display_id", "ts_us", "user_id", "merchant_id", "country", "publisher", "device", "experiment", "population", "config_hash", "bundle_version", "degraded", "recent_items", "recent_categories", "dense_names", "stage_times", "slots", "surface", "rules", "policy")
    DISPLAY_ID_FIELD_NUMBER: _ClassVar[int]
    TS_US_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    POPULATION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    RECENT_ITEMS_FIELD_NUMBER: _ClassVar[int]
    RECENT_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    DENSE_NAMES_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    display_id: str
    ts_us: int
    user_id: str
    merchant_id: str
    country: str
    publisher: str
    device: str
    experiment: str
    population: str
    config_hash: str
    bundle_version: str
    degraded: _containers.RepeatedScalarFieldContainer[str]
    recent_items: _containers.RepeatedScalarFieldContainer[str]
    recent_categories: _containers.RepeatedScalarFieldContainer[str]
    dense_names: _containers.RepeatedScalarFieldContainer[str]
    stage_times: _containers.RepeatedCompositeFieldContainer[_tandem_pb2.StageTime]
    slots: _containers.RepeatedCompositeFieldContainer[LoggedSlot]
    surface: str
    rules: _containers.RepeatedScalarFieldContainer[str]
    policy: str
    def __init__(self, display_id: _Optional[str] = ..., ts_us: _Optional[int] = ..., user_id: _Optional[str] = ..., merchant_id: _Optional[str] = ..., country: _Optional[str] = ..., publisher: _Optional[str] = ..., device: _Optional[str] = ..., experiment: _Optional[str] = ..., population: _Optional[str] = ..., config_hash: _Optional[str] = ..., bundle_version: _Optional[str] = ..., degraded: _Optional[_Iterable[str]] = ..., recent_items: _Optional[_Iterable[str]] = ..., recent_categories: _Optional[_Iterable[str]] = ..., dense_names: _Optional[_Iterable[str]] = ..., stage_times: _Optional[_Iterable[_Union[_tandem_pb2.StageTime, _Mapping]]] = ..., slots: _Optional[_Iterable[_Union[LoggedSlot, _Mapping]]] = ..., surface: _Optional[str] = ..., rules: _Optional[_Iterable[str]] = ..., policy: _Optional[str] = ...) -> None: ...

class LoggedSlot(_message.Message):
    __slots__ = ("position", "item_id", "category", "sources", "score", "dense", "propensity", "shadow_score")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    DENSE_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SCORE_FIELD_NUMBER: _ClassVar[int]
    position: int
    item_id: str
    category: str
    sources: _containers.RepeatedScalarFieldContainer[str]
    score: float
    dense: _containers.RepeatedScalarFieldContainer[float]
    propensity: float
    shadow_score: float
    def __init__(self, position: _Optional[int] = ..., item_id: _Optional[str] = ..., category: _Optional[str] = ..., sources: _Optional[_Iterable[str]] = ..., score: _Optional[float] = ..., dense: _Optional[_Iterable[float]] = ..., propensity: _Optional[float] = ..., shadow_score: _Optional[float] = ...) -> None: ...

class LogRecord(_message.Message):
    __slots__ = ("display", "tracked")
    DISPLAY_FIELD_NUMBER: _ClassVar[int]
    TRACKED_FIELD_NUMBER: _ClassVar[int]
    display: DisplayRecord
    tracked: _tandem_pb2.TrackedEvent
    def __init__(self, display: _Optional[_Union[DisplayRecord, _Mapping]] = ..., tracked: _Optional[_Union[_tandem_pb2.TrackedEvent, _Mapping]] = ...) -> None: ...
