from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    CLICK: _ClassVar[EventKind]
    LANDING: _ClassVar[EventKind]
    SALE: _ClassVar[EventKind]
    VIEW: _ClassVar[EventKind]
EVENT_KIND_UNSPECIFIED: EventKind
CLICK: EventKind
LANDING: EventKind
SALE: EventKind
VIEW: EventKind

class History(_message.Message):
    __slots__ = ("item_ids", "kinds", "ts_us")
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    TS_US_FIELD_NUMBER: _ClassVar[int]
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    kinds: _containers.RepeatedScalarFieldContainer[EventKind]
    ts_us: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, item_ids: _Optional[_Iterable[str]] = ..., kinds: _Optional[_Iterable[_Union[EventKind, str]]] = ..., ts_us: _Optional[_Iterable[int]] = ...) -> None: ...

class Context(_message.Message):
    __slots__ = ("user_id", "merchant_id", "country", "history", "publisher", "device", "exclude_item_ids", "ts_us", "exclude_kinds", "filter")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    TS_US_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_KINDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    merchant_id: str
    country: str
    history: History
    publisher: str
    device: str
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    ts_us: int
    exclude_kinds: _containers.RepeatedScalarFieldContainer[EventKind]
    filter: Filter
    def __init__(self, user_id: _Optional[str] = ..., merchant_id: _Optional[str] = ..., country: _Optional[str] = ..., history: _Optional[_Union[History, _Mapping]] = ..., publisher: _Optional[str] = ..., device: _Optional[str] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., ts_us: _Optional[int] = ..., exclude_kinds: _Optional[_Iterable[_Union[EventKind, str]]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("categories", "min_price", "max_price")
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    MIN_PRICE_FIELD_NUMBER: _ClassVar[int]
    MAX_PRICE_FIELD_NUMBER: _ClassVar[int]
    categories: _containers.RepeatedScalarFieldContainer[str]
    min_price: float
    max_price: float
    def __init__(self, categories: _Optional[_Iterable[str]] = ..., min_price: _Optional[float] = ..., max_price: _Optional[float] = ...) -> None: ...

class GetBannerRequest(_message.Message):
    __slots__ = ("context", "slots", "preview", "population")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    POPULATION_FIELD_NUMBER: _ClassVar[int]
    context: Context
    slots: int
    preview: bool
    population: str
    def __init__(self, context: _Optional[_Union[Context, _Mapping]] = ..., slots: _Optional[int] = ..., preview: _Optional[bool] = ..., population: _Optional[str] = ...) -> None: ...

class Slot(_message.Message):
    __slots__ = ("position", "item_id", "title", "image_url", "category", "price", "sources", "score", "url", "propensity")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    position: int
    item_id: str
    title: str
    image_url: str
    category: str
    price: float
    sources: _containers.RepeatedScalarFieldContainer[str]
    score: float
    url: str
    propensity: float
    def __init__(self, position: _Optional[int] = ..., item_id: _Optional[str] = ..., title: _Optional[str] = ..., image_url: _Optional[str] = ..., category: _Optional[str] = ..., price: _Optional[float] = ..., sources: _Optional[_Iterable[str]] = ..., score: _Optional[float] = ..., url: _Optional[str] = ..., propensity: _Optional[float] = ...) -> None: ...

class StageTime(_message.Message):
    __slots__ = ("stage", "us")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    US_FIELD_NUMBER: _ClassVar[int]
    stage: str
    us: int
    def __init__(self, stage: _Optional[str] = ..., us: _Optional[int] = ...) -> None: ...

class GetBannerResponse(_message.Message):
    __slots__ = ("display_id", "experiment", "population", "bundle_version", "slots", "degraded", "stage_times", "simulated", "config_hash", "rules", "ranker_share")
    DISPLAY_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    POPULATION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMES_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    RANKER_SHARE_FIELD_NUMBER: _ClassVar[int]
    display_id: str
    experiment: str
    population: str
    bundle_version: str
    slots: _containers.RepeatedCompositeFieldContainer[Slot]
    degraded: _containers.RepeatedScalarFieldContainer[str]
    stage_times: _containers.RepeatedCompositeFieldContainer[StageTime]
    simulated: bool
    config_hash: str
    rules: _containers.RepeatedScalarFieldContainer[str]
    ranker_share: float
    def __init__(self, display_id: _Optional[str] = ..., experiment: _Optional[str] = ..., population: _Optional[str] = ..., bundle_version: _Optional[str] = ..., slots: _Optional[_Iterable[_Union[Slot, _Mapping]]] = ..., degraded: _Optional[_Iterable[str]] = ..., stage_times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., simulated: _Optional[bool] = ..., config_hash: _Optional[str] = ..., rules: _Optional[_Iterable[str]] = ..., ranker_share: _Optional[float] = ...) -> None: ...

class GetCandidatesRequest(_message.Message):
    __slots__ = ("context", "k", "sources", "explain", "log")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    context: Context
    k: int
    sources: _containers.RepeatedScalarFieldContainer[str]
    explain: int
    log: bool
    def __init__(self, context: _Optional[_Union[Context, _Mapping]] = ..., k: _Optional[int] = ..., sources: _Optional[_Iterable[str]] = ..., explain: _Optional[int] = ..., log: _Optional[bool] = ...) -> None: ...

class SourceCandidates(_message.Message):
    __slots__ = ("source", "item_ids", "scores", "explanations")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    source: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    scores: _containers.RepeatedScalarFieldContainer[float]
    explanations: _containers.RepeatedCompositeFieldContainer[Explanation]
    def __init__(self, source: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., scores: _Optional[_Iterable[float]] = ..., explanations: _Optional[_Iterable[_Union[Explanation, _Mapping]]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("bias", "history", "others", "known")
    BIAS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    bias: float
    history: _containers.RepeatedCompositeFieldContainer[Contribution]
    others: float
    known: bool
    def __init__(self, bias: _Optional[float] = ..., history: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., others: _Optional[float] = ..., known: _Optional[bool] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("item_id", "contribution")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    contribution: float
    def __init__(self, item_id: _Optional[str] = ..., contribution: _Optional[float] = ...) -> None: ...

class GetCandidatesResponse(_message.Message):
    __slots__ = ("bundle_version", "sources", "degraded", "stage_times", "display_id")
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMES_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_ID_FIELD_NUMBER: _ClassVar[int]
    bundle_version: str
    sources: _containers.RepeatedCompositeFieldContainer[SourceCandidates]
    degraded: _containers.RepeatedScalarFieldContainer[str]
    stage_times: _containers.RepeatedCompositeFieldContainer[StageTime]
    display_id: str
    def __init__(self, bundle_version: _Optional[str] = ..., sources: _Optional[_Iterable[_Union[SourceCandidates, _Mapping]]] = ..., degraded: _Optional[_Iterable[str]] = ..., stage_times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., display_id: _Optional[str] = ...) -> None: ...

class GetSimilarItemsRequest(_message.Message):
    __slots__ = ("item_id", "k", "country", "exclude_item_ids", "context", "log")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    k: int
    country: str
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    context: Context
    log: bool
    def __init__(self, item_id: _Optional[str] = ..., k: _Optional[int] = ..., country: _Optional[str] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., log: _Optional[bool] = ...) -> None: ...

class GetSimilarItemsResponse(_message.Message):
    __slots__ = ("bundle_version", "item_ids", "scores", "basis", "stage_times", "display_id")
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIMES_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_ID_FIELD_NUMBER: _ClassVar[int]
    bundle_version: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    scores: _containers.RepeatedScalarFieldContainer[float]
    basis: str
    stage_times: _containers.RepeatedCompositeFieldContainer[StageTime]
    display_id: str
    def __init__(self, bundle_version: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., scores: _Optional[_Iterable[float]] = ..., basis: _Optional[str] = ..., stage_times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., display_id: _Optional[str] = ...) -> None: ...

class RankRequest(_message.Message):
    __slots__ = ("context", "item_ids", "features")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    context: Context
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    features: bool
    def __init__(self, context: _Optional[_Union[Context, _Mapping]] = ..., item_ids: _Optional[_Iterable[str]] = ..., features: _Optional[bool] = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("bundle_version", "scores", "dense_names", "dense", "recent_item_ids")
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    DENSE_NAMES_FIELD_NUMBER: _ClassVar[int]
    DENSE_FIELD_NUMBER: _ClassVar[int]
    RECENT_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    bundle_version: str
    scores: _containers.RepeatedScalarFieldContainer[float]
    dense_names: _containers.RepeatedScalarFieldContainer[str]
    dense: _containers.RepeatedScalarFieldContainer[float]
    recent_item_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, bundle_version: _Optional[str] = ..., scores: _Optional[_Iterable[float]] = ..., dense_names: _Optional[_Iterable[str]] = ..., dense: _Optional[_Iterable[float]] = ..., recent_item_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class TrackedEvent(_message.Message):
    __slots__ = ("event_id", "ts_us", "user_id", "kind", "item_id", "merchant_id", "country", "display_id", "order_id", "order_value")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TS_US_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_VALUE_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    ts_us: int
    user_id: str
    kind: EventKind
    item_id: str
    merchant_id: str
    country: str
    display_id: str
    order_id: str
    order_value: float
    def __init__(self, event_id: _Optional[str] = ..., ts_us: _Optional[int] = ..., user_id: _Optional[str] = ..., kind: _Optional[_Union[EventKind, str]] = ..., item_id: _Optional[str] = ..., merchant_id: _Optional[str] = ..., country: _Optional[str] = ..., display_id: _Optional[str] = ..., order_id: _Optional[str] = ..., order_value: _Optional[float] = ...) -> None: ...

class TrackRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[TrackedEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[TrackedEvent, _Mapping]]] = ...) -> None: ...

class TrackResponse(_message.Message):
    __slots__ = ("durable",)
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    durable: int
    def __init__(self, durable: _Optional[int] = ...) -> None: ...
