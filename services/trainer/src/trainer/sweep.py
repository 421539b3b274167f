"""Trains several variants side by side, as nested runs of one parent run that carries the best one's figures."""

from __future__ import annotations

import csv
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import params
from trainer.errors import InputError, SweepError, one_line
from trainer.params import Value, Variant
from trainer.signals import uninterrupted
from trainer.tracking import failure, figures

if TYPE_CHECKING:
    from trainer.data import Dataset
    from trainer.engine import Engine
    from trainer.run import Plan, Result
    from trainer.tracking import ActiveRun

#: Imported once, before the variants' processes are forked; the second where runs go to a database without a server.
PRELOAD = ("trainer.preload",)
PRELOAD_EMBEDDED = ("mlflow.store.tracking.sqlalchemy_store",)
TABLE = "variants.csv"


@dataclass(frozen=True)
class SweepResult:
    """What came of a sweep: its parent run, and the variants' results in the order in which they were given."""

    run_id: str
    url: str | None
    results: tuple[Result, ...]

    @property
    def best(self) -> Result | None:
        """The variant with the highest score, the earliest of equals; None where all failed."""
        finished = [result for result in self.results if result.error is None]
        return max(finished, key=lambda result: result.score) if finished else None

    @property
    def failed(self) -> list[Result]:
        """The variants that failed."""
        return [result for result in self.results if result.error is not None]


def run(
    variants: Sequence[Variant],
    dataset: Dataset,
    plan: Plan,
    engine: Engine,
    *,
    name: str = "sweep",
    on_result: Callable[[Result, int], None] = lambda _result, _done: None,
) -> SweepResult:
    """Train the variants and track them; a variant that fails is reported, and the others finish.

    Args:
        variants: What to train.
        dataset: What to train on.
        plan: Where to track, and what the variants have in common.
        engine: Runs the variants.
        name: The parent run's name.
        on_result: Called with each result as it comes, and with how many there are so far.

    Raises:
        SweepFailedError: Some variants failed; holds the result of the sweep.
        TrackingError: The parent run cannot be tracked.
    """
    from mlflow.exceptions import MlflowException

    from trainer import worker
    from trainer.run import Result, inputs

    tracking = plan.target.open()
    tags = {**plan.tags, "trainer.sweep": str(len(variants))}
    keys = [uuid.uuid4().hex for _ in variants]
    pairs = list(zip(variants, keys, strict=True))
    results: dict[int, Result] = {}
    try:
        with tracking.run(name, tags) as parent:
            try:
                parent.log(params=_parent_params(variants, dataset, plan))
                # Before the children do: they would otherwise register the same data at the same moment.
                parent.log_inputs(inputs(dataset))
                shared = worker.Shared(dataset, replace(plan, parent=parent.run_id))
                items = [worker.Item(variant, key, index) for index, (variant, key) in enumerate(pairs)]
                # The longest first: it would otherwise run alone at the end.
                items.sort(key=lambda item: -int(item.variant.params["n_estimators"] or 0))
                # Closing ends the processes, wherever in here an interrupt arrives.
                with closing(engine.map(worker.train, items, shared)) as outcomes:
                    for outcome in outcomes:
                        result = outcome.answer
                        if result is None:
                            reason = one_line(outcome.error or "no answer")
                            # Its process may have had no chance to end the run itself.
                            tracking.end_by_key(outcome.item.key, "FAILED", reason)
                            variant = outcome.item.variant
                            result = Result(name=variant.name, overrides=variant.overrides, error=reason)
                        results[outcome.item.index] = result
                        on_result(result, len(results))
                done = SweepResult(
                    parent.run_id, plan.target.run_url(parent.run_id), tuple(results[i] for i in range(len(variants)))
                )
                _log_comparison(parent, done)
            except BaseException as error:
                status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
                with uninterrupted():
                    # Stops at the first that the server does not answer for: it is gone.
                    all(tracking.end_by_key(key, status) for key in keys)
                raise
            if done.failed:
                raise SweepFailedError(done)
    except MlflowException as error:
        raise failure(error) from error
    return done


class SweepFailedError(SweepError):
    """Some variants of a sweep failed; ``result`` holds what came of all of them."""

    def __init__(self, result: SweepResult) -> None:
        self.result = result
        first = result.failed[0]
        count = f"{len(result.failed)} of {len(result.results)} variants failed"
        super().__init__(f"{count}; {first.name}: {first.error}")


def load_variants(path: Path, base: Mapping[str, Value]) -> list[Variant]:
    """Return the variants that a YAML file lists.

    Args:
        path: A file with a list of mappings from parameter to value; ``name`` names the variant.
        base: What the variants have in common.

    Raises:
        InputError: The file cannot be read or holds something else; the message names file, item and remedy.
    """
    items = _read_list(path)
    variants: list[Variant] = []
    seen: dict[tuple[tuple[str, Value], ...], int] = {}
    for number, item in enumerate(items, start=1):
        where = f"{path}: item {number}"
        if not isinstance(item, dict):
            raise InputError(
                f"{where} is {_what(item)}; write a mapping such as {{n_estimators: 500, learning_rate: 0.025}}"
            )
        name = item.pop("name", None)
        if name is not None and (not isinstance(name, (str, int, float)) or not str(name).strip()):
            raise InputError(f"{where}: name must be text, not {_what(name)}")
        try:
            overrides = dict(params.parse(key, value) for key, value in item.items())
            variant = params.variant(overrides, base, str(name) if name is not None else None)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        twin = seen.setdefault(tuple(sorted(variant.params.items())), number)
        if twin != number:
            raise InputError(f"{where} is the same variant as item {twin}; remove one of them")
        variants.append(variant)
    return variants


def standard_variants(base: Mapping[str, Value]) -> list[Variant]:
    """Return the variants of a sweep without a file."""
    return [params.variant(overrides, base) for overrides in params.STANDARD_VARIANTS]


def _read_list(path: Path) -> list[Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file (--variants)") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file; write a YAML list of variants") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or one_line(error)} (--variants)") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or one_line(error, 150)
        raise InputError(f"{path}{place}: is not valid YAML: {one_line(problem)}") from None
    if not isinstance(content, list):
        raise InputError(f"{path}: holds {_what(content)}; write a list of variants, each starting with '- '")
    if not content:
        raise InputError(f"{path}: lists no variants; add one such as '- n_estimators: 500'")
    return content


def _what(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def _parent_params(variants: Sequence[Variant], dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Return what all variants share, as the parent's parameters."""
    first = variants[0].params
    common = {name: value for name, value in first.items() if all(other.params[name] == value for other in variants)}
    if "random_state" in common and common["random_state"] is None:
        common["random_state"] = plan.seed
    return {
        **common,
        "variants": len(variants),
        "seed": plan.seed,
        "validation_size": plan.validation_size,
        "data": dataset.name,
        "data_digest": dataset.digest,
        "target": dataset.target,
    }


def _log_comparison(parent: ActiveRun, done: SweepResult) -> None:
    best = done.best
    if best is not None:
        tags = {"trainer.best_run_id": str(best.run_id), "trainer.best_variant": best.name}
        parent.log(figures(best.metrics), tags=tags)
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        write_table(Path(folder) / TABLE, done.results)
        parent.log_files(Path(folder))


def write_table(path: Path, results: Sequence[Result]) -> None:
    """Write the variants as a CSV table: name, run, status, error, what distinguishes it, and its figures."""
    overrides = list(dict.fromkeys(name for result in results for name in result.overrides))
    figures = list(dict.fromkeys(name for result in results for name in result.metrics))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["variant", "run_id", "status", *overrides, *figures, "error"])
        for result in results:
            status = "FINISHED" if result.error is None else "FAILED"
            writer.writerow(
                [
                    result.name,
                    result.run_id or "",
                    status,
                    *(result.overrides.get(name, "") for name in overrides),
                    *(result.metrics.get(name, "") for name in figures),
                    result.error or "",
                ]
            )
