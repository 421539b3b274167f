"""Fits one variant: encodes categories, trains LightGBM, chooses the threshold, and puts the parts into one model.

The model is made of scikit-learn's own parts: it takes the raw feature table (texts, booleans, numbers, gaps and all)
and loads without this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from trainer.config.parameters import FIXED, Value
from trainer.data.sources import Dataset, Table, stratified_split
from trainer.training import metrics
from trainer.training.threshold_rule import Policy
from trainer.util.errors import InputError, PrunedError, TrainerError, one_line

if TYPE_CHECKING:
    from lightgbm import LGBMClassifier
    from numpy.typing import NDArray
    from sklearn.compose import ColumnTransformer
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import Pipeline

Callbacks: TypeAlias = Sequence[Callable[[Any], None]]

#: What a fit imports, all of it slow to load.
NEEDS = ("lightgbm", "sklearn.compose", "sklearn.frozen", "sklearn.model_selection", "sklearn.pipeline")
#: Column names may hold what LightGBM refuses in a feature's name (JSON's special characters).
_REFUSED = frozenset('[]{}":,')


@dataclass(frozen=True)
class Fitted:
    """A fitted variant.

    ``model`` predicts classes at ``threshold`` and probabilities; ``loss`` is the validation log loss (nats) after each
    iteration; ``params`` are the estimator's resolved parameters, ``effective`` the complete list LightGBM itself used.
    ``validation`` and ``test`` are the figures of ``metrics.evaluate``, ``probability`` the (test rows,) scores.
    ``curve`` is the PR curve on the validation rows, as ``metrics.sampled_curve`` returns it.

    With cross-validation, the validation rows are all training rows, each scored by the model of the fold that it was
    left out of; ``validation`` and ``loss`` are means over the folds, ``folds`` and ``fold_losses`` the values of each.
    """

    model: FixedThresholdClassifier
    threshold: float
    loss: list[float]
    iterations: int
    params: dict[str, Any]
    effective: dict[str, str]
    validation: dict[str, float]
    test: dict[str, float]
    probability: NDArray[np.float64]
    curve: tuple[float, ...]
    folds: list[dict[str, float]]
    fold_losses: list[list[float]]


def estimator(params: Mapping[str, Value], seed: int) -> LGBMClassifier:
    """Return the unfitted LightGBM estimator of a variant.

    Args:
        params: The variant's complete parameters.
        seed: LightGBM's seed where the parameters name none.
    """
    from lightgbm import LGBMClassifier

    resolved: dict[str, Any] = {**params, **FIXED}
    if resolved["random_state"] is None:
        resolved["random_state"] = seed
    return LGBMClassifier(**resolved)


def encoder(dataset: Dataset) -> ColumnTransformer:
    """Return the unfitted transformer that turns texts and booleans into category codes and leaves numbers alone.

    Unseen and missing categories become gaps, which LightGBM treats as it treats a missing value.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OrdinalEncoder

    gaps = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan, "encoded_missing_value": np.nan}
    texts, booleans = dataset.columns("text"), dataset.columns("boolean")
    truth = np.array([False, True], dtype=object)
    return ColumnTransformer(
        [
            ("text", OrdinalEncoder(**gaps), texts),
            # Named outright: a column that is all true in training still knows false.
            ("boolean", OrdinalEncoder(categories=[truth] * len(booleans), **gaps), booleans),
        ],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")


def fit(
    params: Mapping[str, Value],
    dataset: Dataset,
    *,
    seed: int,
    validation_size: float,
    policy: Policy | None = None,
    folds: int = 0,
    callbacks: Callbacks | None = None,
) -> Fitted:
    """Return a variant fitted to the training table and judged on the test table.

    A stratified part of the training table is held out, or each of some folds in turn: those rows give the loss after
    each iteration, the threshold, and the figures that variants are chosen by. The test table is looked at once, at the
    end. Same data, parameters and seed give the same result, bit for bit.

    Args:
        params: The variant's complete parameters.
        dataset: The training and test tables.
        seed: Seeds the hold-out, and LightGBM unless the parameters say otherwise.
        validation_size: The share of the training rows (0 to 1) that is held out.
        policy: Chooses the threshold on the rows that are held out; the highest F1 by default.
        folds: How many stratified folds to cross-validate with, instead of the one hold-out; the model is then fitted
            to all training rows. 0 for the hold-out.
        callbacks: Called by LightGBM after each iteration.

    Raises:
        TrainerError: LightGBM refuses the parameters or the data, or the policy cannot be met.
    """
    from sklearn.base import clone
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    if folds:
        learnt = _cross_validated(params, dataset, seed, folds, callbacks or [])
    else:
        learnt = _held_out(params, dataset, seed, validation_size, callbacks or [])
    threshold = (policy or Policy()).choose(learnt.target, learnt.probability)
    judged = [metrics.evaluate(learnt.target[rows], learnt.probability[rows], threshold) for rows in learnt.parts]
    # Every part is fitted: this fit only takes note of the classes.
    model = FixedThresholdClassifier(
        FrozenEstimator(learnt.pipeline), threshold=threshold, pos_label=1, response_method="predict_proba"
    ).fit(dataset.train.features, dataset.train.target)
    # scikit-learn keeps what it was given beside what it fitted: as an unfitted recipe, the former does not store the
    # trees a second time.
    model.estimator = clone(learnt.pipeline)
    classify = learnt.pipeline[-1]
    test_probability = model.predict_proba(dataset.test.features)[:, 1]
    return Fitted(
        model=model,
        threshold=threshold,
        loss=mean_loss(learnt.losses),
        iterations=_rounds(classify),
        params=classify.get_params(),
        effective=effective_parameters(classify),
        validation={name: float(np.mean([one[name] for one in judged])) for name in metrics.NAMES},
        test=metrics.evaluate(dataset.test.target, test_probability, threshold),
        probability=test_probability,
        curve=metrics.sampled_curve(learnt.target, learnt.probability),
        folds=judged if folds else [],
        fold_losses=learnt.losses if folds else [],
    )


@dataclass(frozen=True)
class _Learnt:
    """A fitted pipeline, and what is known of it, or of its like, on rows that were not fitted to.

    ``target`` and ``probability`` are (rows,), in ``parts`` that one model each scored; ``losses`` are the validation
    log losses (nats) after each iteration, of each of these models.
    """

    pipeline: Pipeline
    target: NDArray[np.int64]
    probability: NDArray[np.float64]
    parts: list[NDArray[np.int64]]
    losses: list[list[float]]


def _held_out(
    params: Mapping[str, Value], dataset: Dataset, seed: int, validation_size: float, callbacks: Callbacks
) -> _Learnt:
    fitting, validation = split(dataset, seed=seed, validation_size=validation_size)
    pipeline, loss = _pipeline(params, dataset, fitting, validation, seed, callbacks)
    probability = pipeline.predict_proba(validation.features)[:, 1]
    return _Learnt(pipeline, validation.target, probability, [np.arange(validation.rows)], [loss])


def _cross_validated(
    params: Mapping[str, Value], dataset: Dataset, seed: int, folds: int, callbacks: Callbacks
) -> _Learnt:
    """Score each row by a model that was fitted to the other folds, then fit one to all rows.

    Where the variant stops early, the last model makes as many iterations as the folds' models had at their best, on
    average: there is no row left that could tell it when to stop.
    """
    from sklearn.model_selection import StratifiedKFold

    table = dataset.train
    probability = np.empty(table.rows)
    parts: list[NDArray[np.int64]] = []
    losses: list[list[float]] = []
    rounds: list[int] = []
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(table.rows), table.target)
    for fold, (stay, out) in enumerate(splits):
        validation = table.take(out)
        shifted = [_InFold(callback, fold, folds) for callback in callbacks]
        try:
            pipeline, loss = _pipeline(params, dataset, table.take(stay), validation, seed, shifted)
        except PrunedError as pruned:
            if losses:
                pruned.loss = mean_loss(losses)
            raise
        probability[out] = pipeline.predict_proba(validation.features)[:, 1]
        parts.append(out)
        losses.append(loss)
        rounds.append(_rounds(pipeline[-1]))
    if params["early_stopping_round"]:
        params = {**params, "n_estimators": max(round(float(np.mean(rounds))), 1), "early_stopping_round": 0}
    pipeline, _ = _pipeline(params, dataset, table, None, seed, [])
    return _Learnt(pipeline, table.target, probability, parts, losses)


@dataclass(frozen=True, eq=False)
class _InFold:
    """A callback to which the folds look like one long fit."""

    callback: Callable[[Any], None]
    fold: int
    folds: int

    @property
    def order(self) -> int:
        return int(getattr(self.callback, "order", 0))

    @property
    def before_iteration(self) -> bool:
        return bool(getattr(self.callback, "before_iteration", False))

    def __call__(self, state: Any) -> None:
        span = state.end_iteration
        self.callback(replace(state, iteration=self.fold * span + state.iteration, end_iteration=self.folds * span))


def _pipeline(
    params: Mapping[str, Value],
    dataset: Dataset,
    fitting: Table,
    validation: Table | None,
    seed: int,
    callbacks: Callbacks,
) -> tuple[Pipeline, list[float]]:
    """Return the encoder and the classifier, fitted, and the validation loss (nats) after each iteration."""
    from lightgbm.basic import LightGBMError
    from sklearn.pipeline import Pipeline

    encode = encoder(dataset)
    encoded = encode.fit_transform(fitting.features)
    categories = len(dataset.columns("text")) + len(dataset.columns("boolean"))
    names = _feature_names(list(encoded.columns))
    classify = estimator(params, seed)
    watched: dict[str, Any] = {}
    if validation is not None:
        watched = {
            "eval_X": encode.transform(validation.features),
            "eval_y": validation.target,
            "eval_names": ["validation"],
            "eval_metric": "binary_logloss",
        }
    try:
        classify.fit(
            encoded,
            fitting.target,
            feature_name=names,
            categorical_feature=names[:categories],
            callbacks=list(callbacks),
            **watched,
        )
    except LightGBMError as error:
        raise TrainerError(f"LightGBM refuses: {one_line(error)}") from error
    loss: list[float] = []
    if validation is not None:
        loss = [float(value) for value in classify.evals_result_["validation"]["binary_logloss"]]
        # The stored model would hold each of its values as a file.
        classify.evals_result_.clear()
    return Pipeline([("encode", encode), ("classify", classify)]), loss


def _rounds(classify: LGBMClassifier) -> int:
    """Return how many iterations a fitted classifier uses."""
    return int(classify.best_iteration_ or classify.n_estimators_)


def mean_loss(losses: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over models of the loss after each iteration, as far as all of them got."""
    least = min(map(len, losses))
    return [float(value) for value in np.mean([loss[:least] for loss in losses], axis=0)]


def check_folds(dataset: Dataset, folds: int) -> None:
    """Check that each fold can have rows of both classes.

    Raises:
        InputError: The training rows are too few for so many folds.
    """
    least = min(int(count) for count in np.bincount(dataset.train.target, minlength=2))
    if folds > least:
        raise InputError(
            f"--cv: {folds} folds are too many: the training rows hold {least} of the rarer class, and each fold needs"
            f" at least one; {f'give at most {least}' if least > 1 else 'leave it out'}"
        )


def split(dataset: Dataset, *, seed: int, validation_size: float) -> tuple[Table, Table]:
    """Return the rows of the training table to fit to, and those held out for validation."""
    stay, out = stratified_split(dataset.train.target, validation_size, seed)
    return dataset.train.take(stay), dataset.train.take(out)


def effective_parameters(classifier: LGBMClassifier) -> dict[str, str]:
    """Return the complete parameters that LightGBM used, as the fitted model's text lists them."""
    text = classifier.booster_.model_to_string(num_iteration=1)
    section = text.partition("\nparameters:\n")[2].partition("\nend of parameters")[0]
    pairs = (line.strip("[]").partition(": ") for line in section.splitlines() if line.startswith("["))
    return {name.rstrip(":"): value for name, _, value in pairs}


def _feature_names(columns: list[str]) -> list[str]:
    """Return the columns' names as LightGBM takes them: unique, and without the characters that it refuses."""
    names: list[str] = []
    for column in columns:
        # LightGBM itself puts an underscore for white space.
        name = "".join("_" if letter in _REFUSED or letter.isspace() else letter for letter in column) or "_"
        if name in names:
            name = next(f"{name}_{count}" for count in range(2, len(columns) + 2) if f"{name}_{count}" not in names)
        names.append(name)
    return names
