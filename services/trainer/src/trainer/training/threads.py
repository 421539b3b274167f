"""Fits LightGBM with several threads, and leaves what one thread leaves: the same trees, losses and parameters.

LightGBM's ``deterministic`` alone does not give that. Three things make the difference:

- Row by row, each thread sums up a part of the rows, and the parts are added: other roundings. Column by column, one
  thread sums up a column in the rows' order, as one thread alone does row by row.
- Columns that are mostly one value would share a histogram, which is filled by parts of the rows: none does without
  ``is_enable_sparse``.
- The losses are sums over the rows: one thread computes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any

from trainer.config.parameter_table import FIXED

if TYPE_CHECKING:
    from lightgbm import LGBMModel

#: How the sums come out as one thread's.
_EXACT: Mapping[str, bool] = {"force_row_wise": False, "force_col_wise": True, "is_enable_sparse": False}
#: The same settings as the text of a model has them after a fit with one thread.
_TEXT: Mapping[str, str] = {"num_threads": "1", "force_row_wise": "1", "force_col_wise": "0", "is_enable_sparse": "1"}


def fit_with_threads(classify: LGBMModel, threads: int, *args: Any, **options: Any) -> None:
    """Call ``classify.fit`` as it would have been with several threads; ``classify`` is as after a fit with one.

    Args:
        classify: The unfitted estimator.
        threads: How many threads; one is LightGBM's plain fit.
        args: What ``fit`` takes.
        options: What ``fit`` takes by name.
    """
    if threads < 2:
        classify.fit(*args, **options)
        return
    from sklearn.base import clone

    faster = clone(classify).set_params(n_jobs=threads, **_EXACT)
    callbacks = [*(options.pop("callbacks", None) or ()), _OneThreadEvaluates()]
    faster.fit(*args, callbacks=callbacks, **options)
    vars(faster.booster_).pop("eval_valid", None)
    own = {"num_threads": FIXED["n_jobs"], "force_row_wise": FIXED["force_row_wise"]}
    restore(classify, faster, _TEXT, own, _EXACT)


def restore(
    classify: LGBMModel, fitted: LGBMModel, text: Mapping[str, str], own: Mapping[str, Any], added: Container[str]
) -> None:
    """Make an estimator what a fit of its own had made it, of one that was fitted with other settings.

    Args:
        classify: The unfitted estimator.
        fitted: Its fitted clone. No sign of the settings is left in its model.
        text: The settings as the text of a model has them without the change.
        own: Those of the model's parameters that were changed.
        added: Those that were added.
    """
    booster = fitted.booster_
    content: str = booster.model_to_string()
    for name, value in text.items():
        content = re.sub(rf"^\[{name}: .*\]$", f"[{name}: {value}]", content, flags=re.MULTILINE)
    booster.model_from_string(content)
    booster.params = {
        name: own.get(name, value) for name, value in booster.params.items() if name in own or name not in added
    }
    parameters = {*fitted.get_params(), "_other_params"}
    classify.__dict__.update({name: value for name, value in vars(fitted).items() if name not in parameters})


class _OneThreadEvaluates:
    """A callback of LightGBM's that lets one thread compute the metrics from the first iteration on."""

    before_iteration = True
    order = 0

    def __call__(self, state: Any) -> None:
        if state.iteration != state.begin_iteration:
            return
        from lightgbm import basic

        booster, library = state.model, vars(basic)["_LIB"]
        evaluate: Callable[..., Any] = booster.eval_valid

        def alone(*args: Any, **options: Any) -> Any:
            # What LightGBM's own packages use to limit it; -1 is no limit.
            library.LGBM_SetMaxThreads(1)
            try:
                return evaluate(*args, **options)
            finally:
                library.LGBM_SetMaxThreads(-1)

        booster.eval_valid = alone
