"""The housekeeping file: which runs are kept, and from which sizes on `usage` warns.

retention:
  - experiment: purchase*       # a name, or a pattern; the first rule whose pattern fits an experiment is its rule
    keep_best: 10               # by this metric
    metric: average_precision
    better: higher              # or lower
    keep_latest: 20
    older_than: 90              # days; younger runs stay
limits:
  total: 500 GB
  experiment: 50 GB
  user: 100 GB
"""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from replica_server.text import printable

SETTING = "HOUSEKEEPING_FILE"
FILE = Path("/run/housekeeping.yaml")
PAGE = "docs/operators/housekeeping.md"
UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class RulesError(Exception):
    """The file cannot be used; the message is one line that says where and why."""


def read_size(value: object) -> int:
    """Returns the bytes of a size such as `50 GB`; raises ValueError for anything else."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?) ?(kB|MB|GB|TB)", value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"{value!r} is no size: 50 GB is one ({', '.join(UNITS)})")
    return int(float(found[1]) * UNITS[found[2]])


Size = Annotated[int | None, BeforeValidator(read_size)]
Count = Annotated[int | None, Field(ge=1, le=1_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Rule(_Strict):
    """Which runs of an experiment are kept. Those of registered versions, and those under way, are kept anyway.

    Attributes:
        experiment: The experiment's name, or a pattern with `*` and `?`.
        keep_best: How many of the best are kept.
        metric: By which metric.
        better: Whether its higher or its lower values are better.
        keep_latest: How many of those that were started last are kept.
        older_than: Runs are kept until they are so many days old.
    """

    experiment: str = Field(min_length=1)
    keep_best: Count = None
    metric: str = ""
    better: Literal["higher", "lower"] = "higher"
    keep_latest: Count = None
    older_than: float | None = Field(default=None, ge=0, le=36_525, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_complete(self) -> "Rule":
        if (self.keep_best is None) != (not self.metric):
            raise ValueError("keep_best and metric go together")
        if self.keep_best is None and self.keep_latest is None and self.older_than is None:
            raise ValueError("it keeps nothing: name keep_best, keep_latest or older_than")
        return self


class Limits(_Strict):
    """Bytes from which on `usage` warns.

    Attributes:
        total: Of all artifacts.
        experiment: Of each experiment.
        user: Of each user.
    """

    total: Size = None
    experiment: Size = None
    user: Size = None


class Rules(_Strict):
    """What the file says.

    Attributes:
        retention: The rules, the first that fits counts.
        limits: The limits.
    """

    retention: tuple[Rule, ...] = Field(default=(), strict=False)
    limits: Limits = Limits()

    def rule_of(self, experiment: str) -> Rule | None:
        """Returns the rule of an experiment; None where all its runs are kept."""
        return next((rule for rule in self.retention if fnmatchcase(experiment, rule.experiment)), None)


def _place(location: tuple[int | str, ...]) -> str:
    """Returns where in the file something is: `retention 2, keep_best`."""
    text = "".join(f" {part + 1}" if isinstance(part, int) else f", {part}" for part in location)
    return text.removeprefix(", ")


def read(file: Path = FILE) -> Rules:
    """Returns what the file says; an empty one says nothing.

    Raises:
        RulesError: It cannot be read, is no YAML, or says what no rule is.
    """
    try:
        # Where none is given, an empty one is mounted, which this user may not be able to read.
        content = yaml.safe_load(file.read_text()) if file.stat().st_size else None
        return Rules() if content is None else Rules.model_validate(content)
    except OSError as error:
        raise RulesError(f"{SETTING} cannot be read: {error.strerror or type(error).__name__}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = _place(first["loc"]) or "the file"
        raise RulesError(f"{SETTING}: {where}: {printable(first['msg'].removeprefix('Value error, '))}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RulesError(f"{SETTING} is no YAML: {printable(str(error))}") from error
