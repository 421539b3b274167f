"""One fitted pipeline: the encoder of categories, and LightGBM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from trainer.accelerators.model_text import write_once
from trainer.config.parameter import Value
from trainer.config.task import TaskName
from trainer.data.dataset import Dataset, Table
from trainer.training import iteration_metrics
from trainer.training.encoding import Encoding
from trainer.training.fit_work import FitWork
from trainer.training.other_estimators import fit_other
from trainer.training.tasks import training_task
from trainer.training.threads import fit_with_threads
from trainer.training.validation_scores import KeepScores, may_keep
from trainer.util.errors import TrainerError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from lightgbm import LGBMModel
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from trainer.training.data_parallel import Seat

Callbacks: TypeAlias = Sequence[Callable[[Any], None]]
#: Column names may hold what LightGBM refuses in a feature's name (JSON's special characters).
_REFUSED = frozenset('[]{}":,')


class FittedPipeline(NamedTuple):
    """The encoder and the estimator, fitted.

    ``loss`` is the validation loss after each iteration; empty where no rows were watched. ``scores`` are what the
    pipeline says of the validation rows (see ``tasks``); None where they have to be scored.
    """

    pipeline: Pipeline
    loss: list[float]
    scores: NDArray[np.float64] | None = None


class FitPipeline(Protocol):
    """What fits a pipeline: ``fit_pipeline``, or what does the same elsewhere."""

    def __call__(
        self, work: FitWork, encoding: Encoding, validation: Table | None, callbacks: Callbacks = (), threads: int = 1
    ) -> FittedPipeline:
        """Return the fitted pipeline, and what is known of the validation rows; see ``fit_pipeline``."""


def estimator(params: Mapping[str, Value], seed: int, task: TaskName = "binary") -> LGBMModel:
    """Return the unfitted LightGBM estimator of a variant; see ``tasks``."""
    unfitted: LGBMModel = training_task(task).estimator(params, seed)
    return unfitted


@dataclass(frozen=True)
class ValidationFit:
    """A fitted pipeline, and what is known of it, or of its like, on rows that were not fitted to.

    ``rows`` are those rows; ``scores`` are what a model says of them (see ``tasks``), in ``parts`` that one model each
    scored; ``losses`` are the validation losses after each iteration, of each of these models.
    """

    pipeline: Pipeline
    rows: Table
    scores: NDArray[np.float64]
    parts: list[NDArray[np.int64]]
    losses: list[list[float]]
    #: How the pipeline's rows were encoded, where there is one model only.
    encoding: Encoding | None = None

    @property
    def probability(self) -> NDArray[np.float64]:
        """The scores of a classifier."""
        return self.scores


def fit_pipeline(
    work: FitWork,
    encoding: Encoding,
    validation: Table | None,
    callbacks: Callbacks = (),
    threads: int = 1,
    seat: Seat | None = None,
) -> FittedPipeline:
    """Return the encoder and the estimator, fitted, and what is known of the validation rows.

    Args:
        work: The variant and the data set.
        encoding: The rows to fit to, and what encodes them.
        validation: The rows that are looked at after each iteration, if there are any.
        callbacks: Called by LightGBM after each iteration.
        threads: How many threads LightGBM fits with; the result does not depend on it.
        seat: This process's place among several that fit the model, each to rows of its own, by an encoder that is
            fitted to those of all; see ``data_parallel``.

    Raises:
        TrainerError: The estimator refuses the parameters or the data.
    """
    params, dataset, metric = work.params, work.dataset, work.metric
    if work.other is not None:
        return FittedPipeline(fit_other(work.other, dataset, encoding.fitting, work.seed), [])
    from sklearn.pipeline import Pipeline

    fitting = encoding.fitting
    encoded = encoding.table(fitting)
    categories = len(dataset.columns("text")) + len(dataset.columns("boolean"))
    names = feature_names(list(encoded.columns))
    task = training_task(dataset.task, dataset.classes)
    classify = unfitted(params, dataset, work.seed, list(encoded.columns))
    watched: dict[str, Any] = {}
    keep = KeepScores() if validation is not None and seat is None and may_keep(params) else None
    stops = bool(params["early_stopping_round"])
    # Another metric after each iteration takes a tenth of a fit's time: only where something is decided by it.
    decides = stops or any(map(iteration_metrics.decides, callbacks))
    if validation is not None:
        watched = {
            "eval_X": encoding.table(validation),
            # As codes: LightGBM encodes the classes of the rows fitted to only.
            "eval_y": validation.target,
            **({} if validation.weight is None else {"eval_sample_weight": [validation.weight]}),
            "eval_names": ["validation"],
            "eval_metric": iteration_metrics.evaluated(task.task, metric if decides else None),
        }
        if stops:
            classify.set_params(**iteration_metrics.settings(metric))
        elif decides and iteration_metrics.is_own(metric):
            classify.set_params(metric="None")
    if seat is None:
        fit = partial(fit_with_threads, classify, threads)
    else:
        from trainer.training.data_parallel import fit_in_network

        fit = partial(fit_in_network, seat, classify)
    with refusals(), encoding.streaming():
        fit(
            encoded,
            task.labels(fitting.target),
            sample_weight=fitting.weight,
            feature_name=names,
            categorical_feature=names[:categories],
            callbacks=[*callbacks, keep] if keep else list(callbacks),
            **watched,
        )
    loss: list[float] = []
    if validation is not None:
        name = iteration_metrics.LOSSES[task.task.name]
        loss = [float(value) for value in classify.evals_result_["validation"][name]]
        # The stored model would hold each of its values as a file.
        classify.evals_result_.clear()
    pipeline = Pipeline([("encode", encoding.encode), ("classify", classify)])
    return FittedPipeline(pipeline, loss, keep.scores if keep else None)


@contextmanager
def refusals() -> Iterator[None]:
    """Raise LightGBM's errors as those of the trainer."""
    from lightgbm.basic import LightGBMError

    try:
        yield
    except LightGBMError as error:
        raise TrainerError(f"LightGBM refuses: {one_line(error)}") from error


def unfitted(params: Mapping[str, Value], dataset: Dataset, seed: int, columns: Sequence[str]) -> LGBMModel:
    """Return the unfitted estimator for these encoded columns, in this order."""
    write_once()
    classify = estimator(params, seed, dataset.task)
    if dataset.monotone:
        classify.set_params(monotone_constraints=[dataset.monotone.get(str(name), 0) for name in columns])
    return classify


def rounds_used(classify: LGBMModel) -> int:
    """Return how many iterations a fitted estimator uses; 0 for one that is not LightGBM's."""
    return int(classify.best_iteration_ or classify.n_estimators_) if is_lightgbm(classify) else 0


def is_lightgbm(classify: Any) -> bool:
    """Tell whether a fitted estimator is LightGBM's."""
    return hasattr(classify, "booster_")


def mean_loss(losses: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over models of the loss after each iteration, as far as all of them got."""
    least = min(map(len, losses))
    return [float(value) for value in np.mean([loss[:least] for loss in losses], axis=0)]


def effective_parameters(classifier: LGBMModel) -> dict[str, str]:
    """Return the complete parameters that LightGBM used, as the fitted model's text lists them; none of another."""
    if not is_lightgbm(classifier):
        return {}
    text = classifier.booster_.model_to_string(num_iteration=1)
    section = text.partition("\nparameters:\n")[2].partition("\nend of parameters")[0]
    pairs = (line.strip("[]").partition(": ") for line in section.splitlines() if line.startswith("["))
    return {name.rstrip(":"): value for name, _, value in pairs}


def feature_names(columns: list[str]) -> list[str]:
    """Return the columns' names as LightGBM takes them: unique, and without the characters that it refuses."""
    names: list[str] = []
    for column in columns:
        # LightGBM itself puts an underscore for white space.
        name = "".join("_" if letter in _REFUSED or letter.isspace() else letter for letter in column) or "_"
        if name in names:
            name = next(f"{name}_{count}" for count in range(2, len(columns) + 2) if f"{name}_{count}" not in names)
        names.append(name)
    return names
