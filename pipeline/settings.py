"""How a workspace is trained: what was chosen once stays with the workspace, so that the next run keeps it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from candidates.config import CandidatesConfig
from data.engine import Engine
from data.files import write_text_atomically
from data.settings import Count, Seed, Settings, Share, checked, read_settings
from data.workspace import Workspace
from pipeline.errors import PipelineError
from ranker.banner.training import RankerConfig

logger = logging.getLogger(__name__)

FILE = "training.yaml"
"""In a workspace: the settings in which its trainings differ from the defaults."""

OF_ONE_RUN = {"engine", "seed"}


class TrainingPlan(Settings):
    """How both stages are trained.

    Attributes:
        candidates: stage one.
        ranker: stage two.
        later_share: the newest share of the events. What pooled users took there are the ranker's first labels; the
            sources that pool for it are trained on what came before.
        pooled: candidates that each source proposes for an example request.
        requests: example requests at most.
        from_log: also learn from the gateway's log: stage one from its events, the ranker from its displays.
        enough_clicks: landed clicks (or sales, where the ranker is labelled with them) of displays whose outcome is
            known; with fewer of them the ranker learns from events alone.
        newest_displays: that the ranker learns from, at most; bounds the memory.
        engine: what runs the relational steps of one run; not kept in the workspace.
        seed: of everything random in one run; not kept in the workspace.
    """

    candidates: CandidatesConfig = Field(default_factory=CandidatesConfig)
    ranker: RankerConfig = Field(default_factory=RankerConfig)
    engine: Engine = "duckdb"
    later_share: Share = 0.25
    pooled: Count = 30
    requests: Count = 12_000
    from_log: bool = True
    enough_clicks: Count = 300
    newest_displays: Count = 1_000_000
    seed: Seed = 0

    @classmethod
    def of(
        cls, workspace: Workspace, config: Path | None = None, changes: Mapping[str, Any] | None = None
    ) -> "TrainingPlan":
        """The plan that the workspace keeps, or that of a YAML file in its place, with changes.

        Args:
            changes: by path, such as {"candidates.led.epochs": 3}; a value of None changes nothing.

        Raises:
            PipelineError: a file or a change that is no such setting.
        """
        kept = workspace.root / FILE
        path = config or (kept if kept.exists() else None)
        plan = cls() if path is None else read_settings(path, cls, PipelineError)
        values = plan._told()
        given = {name: value for name, value in (changes or {}).items() if value is not None}
        for name, value in given.items():
            _put(values, name.split("."), value)
        shown = "".join(f", {name} {value}" for name, value in given.items() if name not in OF_ONE_RUN)
        logger.info("settings: %s%s", path or "the defaults", shown)
        return checked(cls, values, str(path or "options"), PipelineError)

    def keep(self, workspace: Workspace) -> None:
        """Write what differs from the defaults into the workspace. Raises PipelineError if it cannot be written."""
        told = {name: value for name, value in self._told().items() if name not in OF_ONE_RUN}
        head = "# How this workspace is trained, where that differs from the defaults. Trainings read and write it.\n"
        text = yaml.safe_dump(told, sort_keys=False) if told else ""
        write_text_atomically(workspace.root / FILE, head + (text or "{}\n"), PipelineError)

    def _told(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values[path[-1]] = value
