"""What the variants of a command have in common, and what comes of each: plain data that travels between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.config.plot_style import PlotStyle
from trainer.config.selection_metric import DEFAULT_METRIC, Metric, merit
from trainer.config.task import TaskName
from trainer.tracking.client import Destination
from trainer.training.train_config import TrainConfig

if TYPE_CHECKING:
    from trainer.config.variant import Variant
    from trainer.data.dataset import Dataset


@dataclass(frozen=True)
class Plan:
    """What the variants of a command have in common: how they are trained, and where and as what they are tracked.

    Plain data: it travels to other processes.
    """

    destination: Destination
    config: TrainConfig = field(default_factory=TrainConfig)
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    #: On how many test rows contributions are computed. No result depends on it.
    explain: int = 0
    #: In which themes the plots are drawn.
    plot_style: PlotStyle = "light"

    def result(self, variant: Variant, run_id: str, dataset: Dataset) -> TrainResult:
        """Return the result of a variant whose run is this one, as yet without what it has measured."""
        from trainer.training.model import MODEL_NAME

        return TrainResult(
            name=variant.name,
            overrides=variant.overrides,
            run_id=run_id,
            url=self.destination.run_url(run_id),
            model_uri=f"runs:/{run_id}/{MODEL_NAME}",
            metric=self.config.metric,
            task=dataset.task,
            baseline=variant.baseline,
        )


@dataclass(frozen=True)
class TrainResult:
    """What came of a variant: its run and metrics, or the error that ended it.

    ``reused`` marks one that an earlier sweep had finished: its run and metrics are that one's.
    ``pruned`` is the iteration after which a search ended it early; such a one has no metrics.
    """

    name: str
    overrides: Mapping[str, Any]
    run_id: str | None = None
    url: str | None = None
    model_uri: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    iterations: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    reused: bool = False
    pruned: int | None = None
    #: The PR curve on the validation rows, as ``metrics.sampled_curve`` returns it.
    curve: tuple[float, ...] = ()
    #: The metric that variants are chosen by. Its value is that of the validation rows: the test rows decide nothing.
    metric: Metric = DEFAULT_METRIC
    #: What a user should know of it; see ``training.fit_warnings``.
    warnings: tuple[str, ...] = ()
    task: TaskName = "binary"
    #: Whether it is there for comparison only: it is not chosen.
    baseline: bool = False

    @property
    def status(self) -> str:
        """What became of it: FINISHED, PRUNED or FAILED."""
        return "FAILED" if self.error is not None else "PRUNED" if self.pruned is not None else "FINISHED"

    @property
    def score(self) -> float:
        """The value by which variants are compared: of the metric, or of its opposite where less is better."""
        value = self.metrics.get(f"validation_{self.metric}")
        return float("-inf") if value is None else merit(self.metric, value)
