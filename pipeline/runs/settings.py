"""`pipeline.yaml`: what a run reads, what it refuses, and when the schedule starts one."""

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from data.settings import AtLeastZero, Count, Positive, Settings, Share, read_settings
from pipeline.errors import PipelineError


class Imports(Settings):
    """New files, each read once.

    Attributes:
        events: patterns of names such as drop/*.csv, below the settings' own folder; their files are appended to the
            workspace's events, in the form in which these were imported.
        catalog: a catalog file in Tandem's layout, read again whenever it has changed.
        retire_missing: the catalog file is whole: items that it lacks are retired.
        skip_bad: bad rows per file that are left out, at most.
    """

    events: tuple[str, ...] = ()
    catalog: Path | None = None
    retire_missing: bool = False
    skip_bad: Annotated[int, Field(ge=0)] = 0


class Gates(Settings):
    """What a bundle must hold to take the place of the one in service. null switches a gate off.

    Attributes:
        recall_loss: of the merged sources' recall@20 on users kept out of training, as a share of that of the bundle in
            service, at most.
        entropy_rise: of the served ranker's normalised entropy on later rows, likewise, where both were measured on
            rows of one kind.
        calibration: predicted over observed rate of the ranker is within 1 / (1 + this) and 1 + this.
        drift: population stability index of the newest day's events against the seven days before, by kind, country
            and category, at most; .1 is commonly taken for small and .25 for large.
        events_loss: how many fewer events the newest day may have than the mean of the seven days before, as a share.
    """

    recall_loss: Share | None = 0.1
    entropy_rise: Positive | None = 0.05
    calibration: Positive | None = 0.5
    drift: Positive | None = 0.25
    events_loss: Share | None = 0.8


class Schedule(Settings):
    """When `tandem pipeline schedule` starts runs.

    Attributes:
        daily_at: hours and minutes of the day, UTC. hourly_minutes: between two updates of the ranker; 0: none.
    """

    daily_at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "03:00"
    hourly_minutes: AtLeastZero = 60.0


class PipelineSettings(Settings):
    """A workspace's pipeline.

    Attributes:
        workspace: the folder of its files, below the settings' own folder unless it is absolute.
        imports: new files. gates: what keeps a bundle out of service. schedule: when runs start.
        keep: bundles that stay beside the one in service; older ones are removed after a run.
        minimum_displays: new displays without which the ranker is not updated.
    """

    model_config = ConfigDict(title="pipeline settings")

    workspace: Path = Path("workspace")
    imports: Imports = Imports()
    gates: Gates = Gates()
    schedule: Schedule = Schedule()
    keep: Count = 5
    minimum_displays: Count = 500


def read_pipeline_settings(path: Path) -> PipelineSettings:
    """Raises PipelineError naming the file and the field that is wrong. Relative paths are below the file's folder."""
    found = read_settings(path, PipelineSettings, PipelineError)
    folder, imports = path.parent, found.imports
    catalog = folder / imports.catalog if imports.catalog is not None else None
    events = tuple(str(folder / pattern) for pattern in imports.events)
    return found.changed(workspace=folder / found.workspace, imports=imports.changed(catalog=catalog, events=events))
