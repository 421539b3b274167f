"""The cache key of a run: a hash of the data, the splits, the seed, the parameters and the code that made it.

Runs with equal keys have equal results. The layout of the package says which code that is: ``RESULT_PACKAGES`` hold
all that a result is made with. What tracks, draws, prints or runs tasks in parallel is elsewhere and does not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from trainer.config.parameter_table import FIXED
from trainer.config.variant import Variant
from trainer.util.provenance import PACKAGE

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.training.train_config import TrainConfig

TAG = "trainer.identity"

#: What a result is made with. A module that is added to one of these counts from then on.
RESULT_PACKAGES = ("config", "data", "runs", "training", "util")
#: What a fit, a split and a metric are computed with.
_LIBRARIES = ("lightgbm", "numpy", "pandas", "scikit-learn")


def run_key(variant: Variant, dataset: Dataset, config: TrainConfig) -> str:
    """Return a variant's cache key: 16 hexadecimal digits for all that the variants share, a dash, 32 for its own.

    Names do not count, neither the variant's nor the data's.
    """
    own: dict[str, Any] = {**variant.params, **FIXED}
    if own["random_state"] is None:
        own["random_state"] = config.seed
    if variant.other is not None:
        from trainer.training.other_estimators import code_digest as other_code_digest

        own = {**asdict(variant.other), "code": other_code_digest(variant.other), "seed": config.seed}
    return f"{sweep_key(dataset, config)}-{_digest(own)[:32]}"


def sweep_key(dataset: Dataset, config: TrainConfig) -> str:
    """Return the digest (16 hexadecimal digits) of data, splits, seed, settings and code."""
    data = {
        "train": dataset.digest,
        "test": dataset.test_digest,
        "target": dataset.target,
        "kinds": dataset.column_types,
        "roles": dataset.roles,
        "monotone": dataset.monotone,
        "task": dataset.task,
        "classes": dataset.classes,
        "csv": dataset.form.note(),
    }
    return _digest({"config": asdict(config), "data": data, "code": code_digest()})[:16]


@cache
def code_digest() -> str:
    """Return the digest of the modules and the versions of the libraries that a result depends on."""
    files = {
        file.relative_to(PACKAGE).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for package in RESULT_PACKAGES
        for file in sorted((PACKAGE / package).rglob("*.py"))
    }
    return _digest({"files": files, "libraries": {name: version(name) for name in _LIBRARIES}})


def _digest(content: Mapping[str, Any]) -> str:
    # What JSON does not know is shown by its repr.
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=repr).encode()).hexdigest()
