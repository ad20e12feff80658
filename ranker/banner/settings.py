"""What `tandem ranker train` may be told by a YAML file: the options of the banner's network and of its features."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from data.attribution import DEFAULT, Attribution
from data.settings import Settings, read_settings
from ranker.banner.guard import Serve
from ranker.errors import RankerError
from ranker.features.settings import FeatureSettings, changed_specification
from ranker.features.specification import Dimension, Specification, banner_specification
from ranker.training.objectives import CLICKS, Objectives
from ranker.training.settings import Changes


class BannerSettings(Settings):
    """Changes to the ranker that is trained without a file; what is not named stays.

    Attributes:
        network: fields of `TrainingSettings` (ranker/training/settings.py), its shape among them.
        dimension: of the embeddings.
        features: the pooling of bags, and the dimension of tables that have one of their own.
        attribution, objectives: as in `RankerConfig`.
        serve: as in `RankerConfig`; the command's --ranker goes before it.
    """

    network: Changes = Changes()
    dimension: Dimension | None = None
    features: FeatureSettings = FeatureSettings()
    attribution: Attribution = DEFAULT
    objectives: Objectives = CLICKS
    serve: Serve = "auto"

    @model_validator(mode="after")
    def _numbers_come_transformed(self) -> Self:
        if self.features.integers is not None:
            raise ValueError("features.integers: the banner's numbers come transformed; expected pooling or dimensions")
        return self

    def specification(self) -> Specification:
        """The banner's, with these changes. Raises RankerError for a bag or table that it lacks, or one too wide."""
        return changed_specification(banner_specification(), self.features, self.dimension)


def read_banner_settings(path: Path) -> BannerSettings:
    """Raises RankerError naming the file and the field that is wrong."""
    return read_settings(path, BannerSettings, RankerError)
