"""Fits one variant: encodes categories, trains LightGBM, chooses the threshold, and puts the parts into one model.

The model is made of scikit-learn's own parts: it takes the raw feature table (texts, booleans, numbers, gaps and all)
and loads without this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import metrics
from trainer.data import Dataset, Table, stratified_split
from trainer.errors import TrainerError, one_line
from trainer.params import FIXED, Value
from trainer.plots import sampled
from trainer.thresholds import Policy

if TYPE_CHECKING:
    from lightgbm import LGBMClassifier
    from numpy.typing import NDArray
    from sklearn.compose import ColumnTransformer
    from sklearn.model_selection import FixedThresholdClassifier

#: Column names may hold what LightGBM refuses in a feature's name (JSON's special characters).
_REFUSED = frozenset('[]{}":,')


@dataclass(frozen=True)
class Fitted:
    """A fitted variant.

    ``model`` predicts classes at ``threshold`` and probabilities; ``loss`` is the validation log loss (nats) after each
    iteration; ``params`` are the estimator's resolved parameters, ``effective`` the complete list LightGBM itself used.
    ``validation`` and ``test`` are the figures of ``metrics.evaluate``, ``probability`` the (test rows,) scores.
    ``curve`` is the PR curve on the validation rows, as ``plots.sampled`` returns it.
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
    callbacks: list[Callable[..., Any]] | None = None,
) -> Fitted:
    """Return a variant fitted to the training table and judged on the test table.

    A stratified part of the training table is held out: it gives the loss after each iteration and the threshold. The
    test table is looked at once, at the end. Same data, parameters and seed give the same result, bit for bit.

    Args:
        params: The variant's complete parameters.
        dataset: The training and test tables.
        seed: Seeds the hold-out, and LightGBM unless the parameters say otherwise.
        validation_size: The share of the training rows (0 to 1) that is held out.
        policy: Chooses the threshold on the rows that are held out; the highest F1 by default.
        callbacks: Called by LightGBM after each iteration.

    Raises:
        TrainerError: LightGBM refuses the parameters or the data, or the policy cannot be met.
    """
    from lightgbm.basic import LightGBMError
    from sklearn.base import clone
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import Pipeline

    fitting, validation = split(dataset, seed=seed, validation_size=validation_size)
    encode = encoder(dataset)
    encoded = encode.fit_transform(fitting.features)
    categories = len(dataset.columns("text")) + len(dataset.columns("boolean"))
    names = _feature_names(list(encoded.columns))
    classify = estimator(params, seed)
    try:
        classify.fit(
            encoded,
            fitting.target,
            eval_X=encode.transform(validation.features),
            eval_y=validation.target,
            eval_names=["validation"],
            eval_metric="binary_logloss",
            feature_name=names,
            categorical_feature=names[:categories],
            callbacks=callbacks,
        )
    except LightGBMError as error:
        raise TrainerError(f"LightGBM refuses: {one_line(error)}") from error
    loss = [float(value) for value in classify.evals_result_["validation"]["binary_logloss"]]
    # The stored model would hold each of its values as a file.
    classify.evals_result_.clear()
    pipeline = Pipeline([("encode", encode), ("classify", classify)])
    probability = pipeline.predict_proba(validation.features)[:, 1]
    threshold = (policy or Policy()).choose(validation.target, probability)
    # Every part is fitted: this fit only takes note of the classes.
    model = FixedThresholdClassifier(
        FrozenEstimator(pipeline), threshold=threshold, pos_label=1, response_method="predict_proba"
    ).fit(fitting.features, fitting.target)
    # scikit-learn keeps what it was given beside what it fitted: as an unfitted recipe, the former does not store the
    # trees a second time.
    model.estimator = clone(pipeline)
    test_probability = model.predict_proba(dataset.test.features)[:, 1]
    return Fitted(
        model=model,
        threshold=threshold,
        loss=loss,
        iterations=int(classify.best_iteration_ or classify.n_estimators_),
        params=classify.get_params(),
        effective=effective_parameters(classify),
        validation=metrics.evaluate(validation.target, probability, threshold),
        test=metrics.evaluate(dataset.test.target, test_probability, threshold),
        probability=test_probability,
        curve=sampled(validation.target, probability),
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
