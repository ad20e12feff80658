"""Which users are answered from which sources: the populations file, and the assignment of users to populations.

Assignment is a pure function of the experiment's salt and the user's id, so it is sticky, the same in every process,
and independent between experiments whose salts differ.
"""

import hashlib
import logging
import math
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, field_validator

from data.errors import TandemError
from data.files import sha256_of_json, write_text_atomically
from data.settings import Settings, read_settings
from gateway.errors import GatewayError
from gateway.rules.settings import NO_RULES, Rules

logger = logging.getLogger(__name__)

DEFAULT_POPULATIONS = Path(__file__).with_name("populations.yaml")
KEPT_POPULATIONS = "populations"
"""Beneath a log's folder: the populations that served, by their hash."""

SHARES_TOLERANCE = 1e-6
MOST_POPULATIONS, MOST_BYTES = 1_000, 256 * 1024
"""Of a populations file: every worker reads it while it answers."""

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


@dataclass(frozen=True)
class Population:
    """One arm of an experiment: its share of the users, the sources that serve them, and the rules on their banners."""

    name: str
    share: float
    sources: tuple[str, ...]  # a set: sorted, none twice
    rules: Rules = NO_RULES

    @property
    def told(self) -> list[object]:
        """What the hash is of; without rules as before there were any."""
        rules = self.rules.model_dump(mode="json", exclude_defaults=True)
        return [self.name, self.share, self.sources, *([rules] if rules else [])]


@dataclass(frozen=True)
class Experiment:
    """Populations whose shares sum to 1, and the salt that deals users to them.

    Attributes:
        populations: sorted by name, so that reordering the file moves nobody.
        config_hash: of everything above; displays carry it, so a report sees when the file changed.
    """

    name: str
    salt: str
    populations: tuple[Population, ...]
    config_hash: str = field(init=False)
    _bounds: list[float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        arms = [one.told for one in self.populations]
        object.__setattr__(self, "config_hash", sha256_of_json([self.name, self.salt, arms])[:12])
        object.__setattr__(self, "_bounds", list(accumulate(one.share for one in self.populations))[:-1])

    def moved_share(self, after: "Experiment") -> float:
        """The fraction of users who are in another population after this experiment gives way to that one."""
        if self.salt != after.salt:  # dealt anew, whatever they were
            return 1 - math.fsum(share * after.shares.get(name, 0.0) for name, share in self.shares.items())
        cuts = sorted({0.0, 1.0, *self._bounds, *after._bounds})
        stays = (
            end - start
            for start, end in pairwise(cuts)
            if self.populations[bisect_right(self._bounds, start)].name
            == after.populations[bisect_right(after._bounds, start)].name
        )
        return 1 - math.fsum(stays)

    def keep(self, folder: Path) -> None:
        """Write it to folder/<config_hash>.yaml, as a populations file, if it is not there."""
        path = folder / f"{self.config_hash}.yaml"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            arms: dict[str, dict[str, object]] = {}
            for one in self.populations:
                rules = one.rules.model_dump(mode="json", exclude_defaults=True)
                arms[one.name] = {"share": one.share, "sources": list(one.sources)} | (
                    {"rules": rules} if rules else {}
                )
            content = {"experiment": self.name, "salt": self.salt, "populations": arms}
            write_text_atomically(path, yaml.safe_dump(content, sort_keys=False))

    @property
    def shares(self) -> dict[str, float]:
        """By population."""
        return {one.name: one.share for one in self.populations}

    def population(self, name: str) -> Population:
        """Raises GatewayError if there is none of that name."""
        for one in self.populations:
            if one.name == name:
                return one
        names = ", ".join(one.name for one in self.populations)
        raise GatewayError(f"experiment {self.name} has no population {name!r}; expected one of {names}")

    def assign(self, user_id: str) -> str:
        """The name of the user's population."""
        return self.assignment(user_id).population.name

    def assignment(self, user_id: str, population: str = "") -> "Assignment":
        """The user's population: SHA-256 of "salt:user", first 8 bytes, as a fraction of 1; or the one named.

        Raises:
            GatewayError: there is none of that name.
        """
        if population:
            return Assignment(self, self.population(population))
        digest = hashlib.sha256(f"{self.salt}:{user_id}".encode("utf-8", "surrogatepass")).digest()
        fraction = int.from_bytes(digest[:8], "big") / 2.0**64
        return Assignment(self, self.populations[bisect_right(self._bounds, fraction)])


@dataclass(frozen=True, slots=True)
class Assignment:
    """What serves one user: read once per request."""

    experiment: Experiment
    population: Population


class _PopulationModel(Settings):
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    sources: Annotated[list[_Name], Field(min_length=1)]
    rules: Rules | None = None

    @field_validator("share", mode="before")
    @classmethod
    def _fraction(cls, share: object) -> object:
        if isinstance(share, int | float) and not isinstance(share, bool) and share > 1:
            raise ValueError(f"shares are fractions: expected 0.5 for 50 %, found {share}")
        return share


class _ExperimentModel(Settings):
    experiment: _Name
    salt: Annotated[str, Field(min_length=1, max_length=128)]
    populations: Annotated[dict[_Name, _PopulationModel], Field(min_length=1, max_length=MOST_POPULATIONS)]
    rules: Rules = NO_RULES


def load_experiment(path: Path, known_sources: Collection[str] | None = None) -> Experiment:
    """Read a populations file.

    Args:
        known_sources: the names a population may use; None checks none.
    Raises:
        GatewayError: one sentence with file, field and what was expected there.
    """
    size = path.stat().st_size if path.is_file() else 0
    if size > MOST_BYTES:
        raise GatewayError(f"{path}: expected a populations file of at most {MOST_BYTES:,} bytes, found {size:,}")
    model = read_settings(path, _ExperimentModel, GatewayError)
    _check_sources(path, model, known_sources)
    total = math.fsum(one.share for one in model.populations.values())
    if abs(total - 1) > SHARES_TOLERANCE:
        raise GatewayError(f"{path}: populations: expected shares that sum to 1, found a sum of {total:.6g}")
    return Experiment(
        name=model.experiment,
        salt=model.salt,
        populations=tuple(
            Population(name, one.share, tuple(sorted(one.sources)), _rules_of(path, model, name))
            for name, one in sorted(model.populations.items())
        ),
    )


def _rules_of(path: Path, model: _ExperimentModel, name: str) -> Rules:
    """The experiment's rules, where the population's own say nothing."""
    try:
        return model.rules.over(model.populations[name].rules)
    except TandemError as error:
        raise GatewayError(f"{path}: populations.{name}.rules beside the experiment's: {error}") from None


def _check_sources(path: Path, model: _ExperimentModel, known: Collection[str] | None) -> None:
    for name, population in model.populations.items():
        where = f"{path}: populations.{name}.sources"
        if len(set(population.sources)) != len(population.sources):
            raise GatewayError(f"{where}: expected every source once, found {', '.join(population.sources)}")
        for source in population.sources:
            if known is not None and source not in known:
                raise GatewayError(f"{where}: expected some of {', '.join(sorted(known))}, found {source!r}")


class WatchedExperiment:
    """The experiment of a file that may change: `current` is the last good one."""

    def __init__(
        self,
        path: Path,
        known_sources: Collection[str] | None,
        current: Experiment | None = None,
        kept: Path | None = None,
    ) -> None:
        """`kept`: where every one that comes into force is kept by its hash, for reports (`Experiment.keep`).

        Raises GatewayError if the file is wrong and there is no `current` to go on with."""
        self._path, self._known, self._kept = path, known_sources, kept
        self._seen: tuple[int, ...] = ()
        if current is None:
            self._seen = self._state()
            current = load_experiment(path, known_sources)
        self.current = current
        self._keep()
        self.refresh()

    def refresh(self, level: int = logging.INFO) -> bool:
        """Take the file if it has changed and is right.

        Args:
            level: of the line that says so in the log. A wrong file is logged as an error, unless `level` is lower
                than INFO: of the processes that follow one file, one needs to speak.
        Returns:
            Whether other populations are in force now.
        """
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        try:
            found = load_experiment(self._path, self._known)
        except GatewayError as error:
            wrong = logging.ERROR if level >= logging.INFO else level
            logger.log(wrong, "%s; experiment %s stays in force", error, self.current.name)
            return False
        changed = found.config_hash != self.current.config_hash
        if changed:
            moved = self.current.moved_share(found)
            told = "populations %s (%s) are in force: %.1f %% of users change their population"
            logger.log(level, told, found.name, found.config_hash, 100 * moved)
        self.current = found
        self._keep()
        return changed

    def _keep(self) -> None:
        if self._kept is None:
            return
        try:
            self.current.keep(self._kept)
        except OSError as error:
            logger.error("%s: populations %s are not kept for reports: %s", self._kept, self.current.config_hash, error)

    def _state(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return (0,)
        return found.st_mtime_ns, found.st_size, found.st_ino
