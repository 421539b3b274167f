"""The result of a promotion as data: the answer in JSON, and the tag with the metrics that were compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.cli.constraints import constraint_content

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from trainer.promotion.policy import PromotionPolicy
    from trainer.promotion.verdict import Verdict
    from trainer.promotion.version_scoring import VersionMetrics
    from trainer.registry.registry import Registry


def approved_metrics(verdict: Verdict, champion: ModelVersion | None) -> dict[str, str]:
    """Return the metrics compared, as a tag of the version."""

    def shown(metrics: VersionMetrics) -> str:
        # Of many classes each, they would be too many for a tag.
        values = ", ".join(f"{name} {value:.6f}" for name, value in metrics.values.items() if "/" not in name)
        return f"{values or 'not known'} (rows {metrics.digest or 'not known'})"

    words = f"{verdict.source}: {shown(verdict.metrics)}"
    if champion is not None and verdict.champion_metrics is not None:
        if verdict.compared.digest != verdict.metrics.digest:
            words += f"; on rows that neither was trained on: {shown(verdict.compared)}"
        words += f"; version {champion.version}: {shown(verdict.champion_metrics)}"
    return {"trainer.approved_metrics": words}


def promotion_content(
    registry: Registry,
    version: ModelVersion,
    champion: ModelVersion | None,
    verdict: Verdict | None,
    rules: PromotionPolicy,
    *,
    promoted: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """Return what came of a promotion as plain values; without a verdict, nothing was checked."""
    before = str(champion.version) if champion is not None else None
    content: dict[str, Any] = {
        "model": registry.name,
        "version": str(version.version),
        "champion_before": before,
        "champion": str(version.version) if promoted else before,
        "promoted": promoted,
        "dry_run": dry_run,
        "policy": rules.digest,
    }
    if verdict is None:
        return content
    return content | {
        "satisfied": not verdict.failed,
        "metrics": {
            "source": verdict.source,
            "version": dict(verdict.metrics.values),
            "version_beside_champion": dict(verdict.compared.values) if verdict.champion_metrics is not None else None,
            "champion": dict(verdict.champion_metrics.values) if verdict.champion_metrics is not None else None,
        },
        "constraints": [constraint_content(constraint) for constraint in verdict.constraints],
    }
