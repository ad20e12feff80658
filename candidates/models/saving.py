"""A fitted model as a folder: its arrays in one safetensors file, its kind and settings in one JSON file beside it."""

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from candidates.errors import CandidatesError
from data.files import refuse_others, replaced_folder, sha256_of
from data.settings import Settings, checked, read_json

FORMAT = 1
DESCRIPTION, ARRAYS = "model.json", "arrays.safetensors"


@dataclass(frozen=True)
class SavedModel:
    """What a folder says of its model.

    Attributes:
        kind: the name of the model's class.
        config: its settings, of JSON's types.
        items: columns of the matrix that it was fitted on.
        sha256: of the file of arrays.
    """

    kind: str
    config: dict[str, Any]
    items: int
    sha256: str
    format: int = FORMAT


class SavedInFolder(ABC):
    """A model with settings that can be written into a folder once it is fitted, and read back."""

    title: str
    config_type: ClassVar[type[Settings]]
    """Of the settings, given as `config`; without them, its defaults."""

    config: Any  # of config_type

    _items: int | None = None

    def __init__(self, config: Any = None, **settings: Any) -> None:
        """With a config of `config_type`, or some of its settings by name: `Ials(factors=64)`.

        Raises:
            CandidatesError: no such setting, a value that it cannot have, both ways at once, or another model's config.
        """
        if config is None:
            config = checked(self.config_type, settings, type(self).__name__, CandidatesError)
        elif settings or not isinstance(config, self.config_type):
            found = f"{type(config).__name__}{''.join(f', {name}' for name in settings)}"
            raise CandidatesError(
                f"{type(self).__name__} takes its {self.config_type.__name__} or settings by name, found {found}"
            )
        self.config = config

    @property
    def settings(self) -> dict[str, Any]:
        """All of them, of JSON's types."""
        found: dict[str, Any] = self.config.model_dump(mode="json")
        return found

    @property
    def draws(self) -> bool:
        """Whether another seed gives another model."""
        return "seed" in self.config_type.model_fields

    def save(self, folder: Path | str) -> None:
        """Write the fitted model into a folder, in the place of a model saved there before.

        Raises:
            CandidatesError: not fitted yet, a place that cannot be written, or a folder that holds anything else.
        """
        from safetensors.numpy import save_file

        items, folder = self._fitted(), Path(folder)
        refuse_others(folder, (DESCRIPTION, ARRAYS), CandidatesError)
        try:
            with replaced_folder(folder) as beside:
                arrays = {name: np.ascontiguousarray(one) for name, one in self._state().items()}
                save_file(arrays, beside / ARRAYS)
                saved = SavedModel(type(self).__name__, self.settings, items, sha256_of(beside / ARRAYS))
                (beside / DESCRIPTION).write_text(json.dumps(asdict(saved), indent=2) + "\n")
        except OSError as error:
            raise CandidatesError(f"{folder}: expected a place that can be written, found {error}") from error

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The model that `save` wrote, with equal scores.

        Raises:
            CandidatesError: no model there, another kind of model, or damaged files.
        """
        from safetensors.numpy import load_file

        saved, folder = saved_model(Path(folder)), Path(folder)
        if saved.kind != cls.__name__:
            raise CandidatesError(f"{folder} holds a model of the kind {saved.kind}; expected {cls.__name__}")
        model = cls(checked(cls.config_type, saved.config, str(folder), CandidatesError))
        model._items = saved.items
        try:
            if sha256_of(folder / ARRAYS) != saved.sha256:
                raise CandidatesError(f"{folder / ARRAYS} is not the file that was saved: its SHA-256 differs")
            model._restore(load_file(folder / ARRAYS))
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise CandidatesError(f"{folder}: expected the arrays of {cls.__name__}, found {error!r}") from error
        return model

    def _fitted(self) -> int:
        """How many items the model was fitted on."""
        if self._items is None:
            raise CandidatesError(f"{self.title} is not fitted yet; call fit first")
        return self._items

    @abstractmethod
    def _state(self) -> dict[str, NDArray]:
        """What scores are made of, by name."""

    @abstractmethod
    def _restore(self, arrays: dict[str, NDArray]) -> None:
        """Take back what `_state` gave."""


def saved_model(folder: Path) -> SavedModel:
    """What a folder says of its model. Raises CandidatesError: no model there, or one of another format."""
    missing = f"{folder}: expected the folder of a saved model, found no {DESCRIPTION} in it"
    expected = "the description of a saved model"
    found = read_json(folder / DESCRIPTION, SavedModel, missing=missing, expected=expected, error=CandidatesError)
    if found.format != FORMAT:
        raise CandidatesError(f"{folder} is a model of format {found.format}; expected format {FORMAT}")
    return found
