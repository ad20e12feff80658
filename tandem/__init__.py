"""Tandem from Python: the public names, each loaded when it is first used, so that `import tandem` costs milliseconds.

Models of a user-item matrix, all with `fit`, `recommend`, `similar_items`, `item_vectors`, `save` and `load`; `Bundle`,
what the gateway serves, without a gateway; `GatewayClient`; the commands `train`, `update_catalog`, `report`, `plan`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tandem.packages import bind

if TYPE_CHECKING:
    from candidates.baselines.autoencoder import Autoencoder as Autoencoder
    from candidates.baselines.autoencoder import AutoencoderConfig as AutoencoderConfig
    from candidates.baselines.ease import Ease as Ease
    from candidates.baselines.ease import EaseConfig as EaseConfig
    from candidates.baselines.elsa import Elsa as Elsa
    from candidates.baselines.elsa import ElsaConfig as ElsaConfig
    from candidates.baselines.ials import Ials as Ials
    from candidates.baselines.ials import IalsConfig as IalsConfig
    from candidates.baselines.popularity import Popularity as Popularity
    from candidates.baselines.slim import Slim as Slim
    from candidates.baselines.slim import SlimConfig as SlimConfig
    from candidates.benchmarks.registry import load_model as load_model
    from candidates.config import LedConfig as LedConfig
    from candidates.led.model import Led as Led
    from candidates.models.ranking import Ranked as Ranked
    from candidates.models.vectors import write_item_vectors as write_item_vectors
    from candidates.protocols.interactions import Interactions as Interactions
    from candidates.protocols.interactions import read_interactions as read_interactions
    from candidates.protocols.metrics import Measures as Measures
    from candidates.protocols.metrics import evaluate as evaluate
    from candidates.protocols.splits import HeldOutUsers as HeldOutUsers
    from candidates.protocols.splits import strong_generalisation as strong_generalisation
    from data.errors import TandemError as TandemError
    from data.workspace import Workspace as Workspace
    from gateway.client import GatewayClient as GatewayClient
    from gateway.client import history_of as history_of
    from gateway.client import pb as pb
    from gateway.experiment.exports import uplift_table as uplift_table
    from gateway.experiment.model import Report as Report
    from gateway.off_policy.reports import PolicyReport as PolicyReport
    from gateway.off_policy.reports import evaluate_policy as evaluate_policy
    from gateway.off_policy.targets import RecommendedPolicy as RecommendedPolicy
    from gateway.off_policy.targets import UniformPolicy as UniformPolicy
    from pipeline.settings import TrainingPlan as TrainingPlan
    from ranker.dlrm import Dlrm as Dlrm
    from tandem.bundle import Bundle as Bundle
    from tandem.bundle import ItemVectors as ItemVectors
    from tandem.bundle import Recommended as Recommended
    from tandem.bundle import UserHistory as UserHistory
    from tandem.workspaces import interactions as interactions
    from tandem.workspaces import plan as plan
    from tandem.workspaces import read_catalog as read_catalog
    from tandem.workspaces import read_events as read_events
    from tandem.workspaces import report as report
    from tandem.workspaces import train as train
    from tandem.workspaces import update_catalog as update_catalog

_NAMES = {
    "candidates.baselines.autoencoder": "Autoencoder AutoencoderConfig",
    "candidates.baselines.ease": "Ease EaseConfig",
    "candidates.baselines.elsa": "Elsa ElsaConfig",
    "candidates.baselines.ials": "Ials IalsConfig",
    "candidates.baselines.popularity": "Popularity",
    "candidates.baselines.slim": "Slim SlimConfig",
    "candidates.benchmarks.registry": "load_model",
    "candidates.config": "LedConfig",
    "candidates.led.model": "Led",
    "candidates.models.ranking": "Ranked",
    "candidates.models.vectors": "write_item_vectors",
    "candidates.protocols.interactions": "Interactions read_interactions",
    "candidates.protocols.metrics": "Measures evaluate",
    "candidates.protocols.splits": "HeldOutUsers strong_generalisation",
    "data.errors": "TandemError",
    "data.workspace": "Workspace",
    "gateway.client": "GatewayClient history_of pb",
    "gateway.experiment.exports": "uplift_table",
    "gateway.experiment.model": "Report",
    "gateway.off_policy.reports": "PolicyReport evaluate_policy",
    "gateway.off_policy.targets": "RecommendedPolicy UniformPolicy",
    "pipeline.settings": "TrainingPlan",
    "ranker.dlrm": "Dlrm",
    "tandem.bundle": "Bundle ItemVectors Recommended UserHistory",
    "tandem.workspaces": "interactions plan read_catalog read_events report train update_catalog",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_HOMES)

bind()


def __getattr__(name: str) -> Any:
    home = "tandem.cli" if name == "main" else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tandem' has no attribute {name!r}; it has {', '.join(__all__)}")
    found = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
