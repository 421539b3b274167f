"""Plots of many shapes: few and many features, classes and trees, names of any kind, models from good to worthless."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from trainer.plots import class_confusion, class_curves, residuals
from trainer.plots.calibration import calibration_curve
from trainer.plots.confusion import confusion_matrix
from trainer.plots.content import Content
from trainer.plots.contribution_values import Contributions
from trainer.plots.contributions import contributions
from trainer.plots.importance import feature_importance
from trainer.plots.importance_values import Importance
from trainer.plots.learning_curve import learning_curve
from trainer.plots.precision_recall import pr_curve
from trainer.plots.roc import roc_curve
from trainer.plots.style import Heading
from trainer.plots.sweep_curves import Curve, sweep_curves
from trainer.plots.sweep_parameters import sweep_parameters
from trainer.training import metrics, multiclass_metrics

HEADING = Heading("n_estimators=500 learning_rate=0.025", "telco_customer_churn.csv, 1,409 test rows")
NAMES = {
    "short": "f",
    "long": "a column whose name is far longer than there is room for, as those of joined tables are " * 3,
    "chinese": "特徴量の名前" * 6,
}
#: How scores tell classes apart: from perfectly to the wrong way round.
SKILLS: dict[str, Callable[[Any, Any], Any]] = {
    "perfect": lambda target, _rng: 0.02 + 0.96 * target,
    "good": lambda target, rng: np.clip(0.55 * target + 0.5 * rng.random(len(target)), 0, 1),
    "poor": lambda target, rng: np.clip(0.15 * target + 0.85 * rng.random(len(target)), 0, 1),
    "useless": lambda target, rng: rng.random(len(target)),
    "wrong": lambda target, rng: np.clip(0.9 * (1 - target) + 0.1 * rng.random(len(target)), 0, 1),
    "constant": lambda target, _rng: np.full(len(target), 0.3),
}


def binary() -> Iterator[tuple[str, Content]]:
    """Yield plots of two classes."""
    for skill, scored in SKILLS.items():
        for rows, share in ((2, 0.5), (12, 0.4), (400, 0.02), (2_000, 0.3), (2_000, 0.95)):
            rng = np.random.default_rng(rows)
            target = (np.arange(rows) < max(1, min(round(rows * share), rows - 1))).astype(np.int64)
            scores = scored(target, rng)
            threshold = metrics.best_f1_threshold(target, scores)
            for level in {threshold, 0.1}:
                point = (target, scores, level, metrics.metrics_at(target, scores, level), HEADING)
                name = f"{skill} {rows} {share} {level:.2f}"
                yield f"pr {name}", pr_curve(*point)
                yield f"roc {name}", roc_curve(*point)
            yield f"confusion {skill} {rows} {share}", confusion_matrix(*point)
            yield f"calibration {skill} {rows} {share}", calibration_curve(target, scores, HEADING)


def losses() -> Iterator[tuple[str, Content]]:
    """Yield learning curves."""
    for count in (1, 2, 3, 100, 5_000):
        steps = np.arange(1, count + 1)
        falling = 0.3 + 0.4 * np.exp(-steps / (count / 8))
        noise = np.random.default_rng(count).normal(size=count)
        for name, values in {
            "falling": falling,
            "rising": 0.3 + 0.4 * steps / count,
            "valley": 0.3 + 2 * (steps / count - 0.3) ** 2,
            "hill": 0.7 - 2 * (steps / count - 0.5) ** 2,
            "noise": 0.5 + 0.1 * noise,
            "cliff": np.where(steps < count / 2, 0.7, 0.3),
            "flat": np.full(count, 0.5),
            "errors": 1e6 * falling,
        }.items():
            yield f"learning {name} {count}", learning_curve(list(values), count, HEADING)
            yield f"learning {name} {count} stopped", learning_curve(list(values), max(1, count // 3), HEADING)
        folds = [list(falling * (1 + 0.2 * fold)) for fold in range(5)]
        yield f"learning folds {count}", learning_curve(list(falling * 1.4), count, HEADING, folds)


def features() -> Iterator[tuple[str, Content]]:
    """Yield plots of features."""
    for count in (1, 2, 5, 10, 200):
        for kind, name in NAMES.items():
            for trees in (3, 5_000):
                rng = np.random.default_rng(count)
                names = [f"{name}{number}" for number in range(count)]
                gain = rng.random(count) ** 8 * 1e5
                found = Importance(names, gain, rng.integers(0, trees, count), trees)
                yield f"importance {count} {kind} {trees}", feature_importance(found, HEADING)
            values = rng.normal(size=(60, count)) * np.geomspace(2, 0.01, count)
            shap = Contributions(names, np.arange(60), 400, values, values.copy(), -1.0)
            yield f"contributions {count} {kind}", contributions(shap, HEADING)


def classes() -> Iterator[tuple[str, Content]]:
    """Yield plots of several classes."""
    for count in (3, 7, 30, 60):
        rng = np.random.default_rng(count)
        target = rng.integers(0, count, 1_200)
        scores = rng.random((1_200, count))
        scores[np.arange(1_200), target] += rng.random(1_200) * 1.5
        scores /= scores.sum(axis=1, keepdims=True)
        found = multiclass_metrics.metrics_of(target, scores)
        for kind, name in NAMES.items():
            of = (target, scores, [f"{name}{number}" for number in range(count)], found, HEADING)
            yield f"class pr {count} {kind}", class_curves.class_pr_curves(*of)
            yield f"class roc {count} {kind}", class_curves.class_roc_curves(*of)
            yield f"class confusion {count} {kind}", class_confusion.class_confusion(*of)


def numbers() -> Iterator[tuple[str, Content]]:
    """Yield plots of a regression."""
    for rows in (2, 12, 4_000):
        for scale in (1e-6, 1.0, 1e9):
            for kind, noise in {"perfect": 0.0, "good": 0.3}.items():
                rng = np.random.default_rng(rows)
                target = rng.normal(size=rows) * scale
                predicted = target + rng.normal(size=rows) * scale * noise
                point = (target, predicted, {"r2": 0.9, "rmse": scale / 3}, HEADING)
                yield f"actual {kind} {rows} {scale}", residuals.predicted_actual(*point)
                yield f"residuals {kind} {rows} {scale}", residuals.residuals(*point)


def sweeps() -> Iterator[tuple[str, Content]]:
    """Yield plots of sweeps."""
    heading = Heading("5 trials", "telco_customer_churn.csv, compared on 1,127 validation rows")
    for count in (1, 2, 6, 40):
        for kind, name in NAMES.items():
            curves = [Curve(f"{name} {n}", 0.9 - n / 100, list(np.linspace(1, n / 50, 101))) for n in range(count)]
            yield f"sweep curves {count} {kind}", sweep_curves(curves, heading)
        if count > 1:
            many = [
                {
                    "learning_rate": 0.01 + 0.0123456789012345 * n,
                    "num_leaves": 2 + n,
                    "class_weight": ("balanced", None)[n % 2],
                }
                for n in range(count)
            ]
            found: Any = sweep_parameters(many, [0.5 + n / 100 for n in range(count)], heading)
            yield f"sweep parameters {count}", found
            grid = [{"num_leaves": 2 + n % 5, "learning_rate": 0.1234567890123456 * (1 + n // 5)} for n in range(count)]
            found = sweep_parameters(grid, [0.5 + n / 100 for n in range(count)], heading)
            yield f"sweep grid {count}", found
