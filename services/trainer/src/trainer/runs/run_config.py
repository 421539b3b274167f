"""The options that repeat a run, a sweep or a search: ``config.yaml`` among the artifacts, for ``trainer --config``.

Where runs are tracked is no part of it, and neither is how many of them are trained at a time: no result depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.explain import ALL
from trainer.config.other_estimator import OtherEstimator
from trainer.config.parameter import Value

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.runs.plan import Plan

FILE = "config.yaml"


def run_config(
    params: Mapping[str, Value], dataset: Dataset, plan: Plan, other: OtherEstimator | None = None
) -> dict[str, Any]:
    """Return the options that repeat a run.

    Args:
        params: LightGBM's parameters.
        dataset: What it was trained on.
        plan: How it was trained.
        other: Another estimator, in place of LightGBM with the parameters.
    """
    config, data = plan.config, dataset
    whole_table = data.test_size is not None
    content = {
        "data": None if data.generated else data.source,
        "test": data.test_source,
        "target": None if data.generated else data.target,
        # Guessed once: other rows of the same table may look like another task.
        "task": data.task,
        "positive": data.positive,
        "drop": list(data.dropped),
        "categorical": list(data.categorical),
        **data.roles,
        # LightGBM's trees alone keep to it, and alone are explained.
        "monotone": dict(data.monotone) if other is None else {},
        **data.form.note(),
        **({"test_size": data.test_size} if whole_table else {}),
        **({"cv": config.folds} if config.folds else {"validation_size": config.validation_size}),
        "threshold": str(config.threshold_rule),
        "metric": config.metric,
        "seed": config.seed,
        # Of which the result differs a little.
        "distributed": config.distributed or None,
        "explain": ("all" if plan.explain == ALL else plan.explain or None) if other is None else None,
        "plot_style": plan.plot_style if plan.plot_style != "light" else None,
    }
    # What is left out may be set by a variable; nothing, once it is written, is nothing.
    kept = {name: value for name, value in content.items() if value not in ([], {}) and (value is not None)}
    if data.generated:
        kept = {"data": None, **kept}
    if other is not None:
        return {**kept, **other.options}
    return {**kept, **{name: value for name, value in params.items() if value is not None}}


def write_config(folder: Path, command: str, content: Mapping[str, Any]) -> None:
    """Write options as a file for ``--config``.

    Args:
        folder: Where it goes.
        command: The command that takes them, such as ``sweep``.
        content: The options.
    """
    import yaml

    head = f"# Repeats this run: trainer {command} --config {FILE}\n"
    text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=10_000)
    (folder / FILE).write_text(head + text, encoding="utf-8")
