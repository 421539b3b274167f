"""Tells whether a run would come out as another did: a digest of everything that determines its result.

What a command prints or how many processes it uses is left out by name; anything else counts, so that a setting or a
module that is added later makes a difference without being registered here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from trainer.config.parameters import FIXED, Value, Variant
from trainer.util.provenance import PACKAGE

if TYPE_CHECKING:
    from trainer.data.sources import Dataset
    from trainer.runs.plan import Plan

TAG = "trainer.identity"

#: Says where and as what a run is tracked, not what comes of it.
_ELSEWHERE = frozenset({"target", "tags", "parent"})
#: Modules and packages that no figure and no model depends on.
_HARMLESS = frozenset({
    "__init__", "__main__", "ahead", "atomic", "checks", "cli", "collector", "compare", "compare_command",
    "comparison", "conformance", "engine", "errors", "identity", "importance", "options", "plots", "policy",
    "predict", "predict_command", "preload", "preload_embedded", "probe", "probe_script", "progress", "promote",
    "promote_command", "provenance", "push", "push_command", "registry", "report", "resume", "scoring", "search",
    "search_command", "search_worker", "serve_command", "serving", "signals", "space", "study", "sweep",
    "sweep_command", "tracking", "train_command", "training", "variants", "verify_command", "worker", "yamlfile",
})  # fmt: skip
#: What a fit, a split and a figure are computed with.
_LIBRARIES = ("lightgbm", "numpy", "pandas", "scikit-learn")


def of(variant: Variant, dataset: Dataset, plan: Plan) -> str:
    """Return a variant's identity: 16 hexadecimal digits for all that the variants share, a dash, 32 for its own.

    Names do not count, neither the variant's nor the data's.
    """
    own: dict[str, Value] = {**variant.params, **FIXED}
    if own["random_state"] is None:
        own["random_state"] = plan.seed
    return f"{shared(dataset, plan)}-{_digest(own)[:32]}"


def shared(dataset: Dataset, plan: Plan) -> str:
    """Return the digest (16 hexadecimal digits) of data, splits, seed, settings and code."""
    settings = {field.name: getattr(plan, field.name) for field in fields(plan) if field.name not in _ELSEWHERE}
    data = {"train": dataset.digest, "test": dataset.test_digest, "target": dataset.target, "kinds": dataset.kinds}
    return _digest({"settings": settings, "data": data, "code": code()})[:16]


@cache
def code() -> str:
    """Return the digest of the modules and the versions of the libraries that a result depends on."""
    files = {
        file.relative_to(PACKAGE).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.relative_to(PACKAGE).parts[0].removesuffix(".py") not in _HARMLESS
    }
    return _digest({"files": files, "libraries": {name: version(name) for name in _LIBRARIES}})


def _digest(content: Mapping[str, Any]) -> str:
    # What JSON does not know is shown by its repr.
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=repr).encode()).hexdigest()
