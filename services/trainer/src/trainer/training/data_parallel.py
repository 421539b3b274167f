"""One model fitted by several processes, each with a part of the rows: LightGBM's data-parallel learner.

Three things bring the result near that of one process:

- All use the same bins. They are chosen here by the rows that one process would choose them by, and travel.
- All know all classes, and weights of classes are computed by all rows: no part need hold a row of each.
- All watch the same validation rows: so all compute the same loss, and stop after the same iteration.

One thing keeps it from being the same, bit for bit. After the first tree, LightGBM's data-parallel learner estimates
how many rows a leaf has, by its share of the Hessian; one process counts them. So what hangs on numbers of rows is
decided otherwise here and there: ``min_child_samples``, and which categories a split takes. Without both the models are
equal but for the numbers of rows that they note of their nodes.

No public function of LightGBM's takes bins of other rows, so this module uses private names of LightGBM's.
test_data_parallel.py fails when they change. They can go when ``lightgbm.dask`` stops early by rows that all have in
common, and ends when a worker is lost.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import lightgbm
import numpy as np
from lightgbm import basic, sklearn

from trainer.training.threads import restore

if TYPE_CHECKING:
    from lightgbm import LGBMModel
    from numpy.typing import NDArray
    from sklearn.compose import ColumnTransformer

    from trainer.data.dataset import Table

#: Minutes that a socket of LightGBM's waits. Who watches the processes ends them sooner.
TIME_OUT = 2
#: What the text of a fitted model says of one process.
_TEXT: Mapping[str, str] = {"tree_learner": "serial", "num_machines": "1"}
_LIBRARY = vars(basic)["_LIB"]
_call: Callable[[int], None] = vars(basic)["_safe_call"]


@dataclass(frozen=True)
class Common:
    """What the processes have in common: the fitted encoder, the bins, the labels of all classes, and their number."""

    encode: ColumnTransformer
    bins: bytes
    labels: NDArray[Any]
    processes: int


@dataclass(frozen=True)
class Seat:
    """One process's place among those that fit a model.

    ``meet`` is called when this process's rows are binned; it waits for the others, and returns the addresses of all
    (``host:port``, separated by commas) and the port that this one is to listen at.
    """

    common: Common
    meet: Callable[[], tuple[str, int]]


def sample_positions(classify: LGBMModel, rows: int) -> NDArray[np.int64]:
    """Return the positions of the rows by which a fit in one process would choose its bins, ascending."""
    parameters = _parameters(classify)
    cut = lightgbm.Dataset(None, params=parameters)
    # Otherwise it leaves the seed out.
    with patch.object(cut, "get_params", lambda: parameters):
        return np.asarray(cut._create_sample_indices(total_nrow=rows), dtype=np.int64)


def make_bins(classify: LGBMModel, sample: Any, rows: int, names: Sequence[str], categories: Sequence[str]) -> bytes:
    """Return the bins that a fit in one process would choose, as LightGBM writes them.

    Args:
        classify: The unfitted estimator.
        sample: The encoded rows at ``sample_positions``.
        rows: How many rows are fitted to in all.
        names: The columns' names.
        categories: The names of the columns that hold codes of categories.
    """
    parameters = _parameters(classify)
    # LightGBM leaves columns out that no leaf of so many rows could be made with; of a sample it takes a share of that.
    least = parameters["min_child_samples"] * len(sample) // rows
    chosen = lightgbm.Dataset(
        sample,
        params={**parameters, "min_child_samples": least},
        feature_name=list(names),
        categorical_feature=list(categories),
    ).construct()
    buffer, size, byte = ctypes.c_void_p(), ctypes.c_int32(), ctypes.c_uint8()
    _call(_LIBRARY.LGBM_DatasetSerializeReferenceToBinary(chosen._handle, ctypes.byref(buffer), ctypes.byref(size)))
    content = bytearray()
    for place in range(size.value):
        _call(_LIBRARY.LGBM_ByteBufferGetAt(buffer, ctypes.c_int32(place), ctypes.byref(byte)))
        content.append(byte.value)
    _call(_LIBRARY.LGBM_ByteBufferFree(buffer))
    return bytes(content)


def weighted(table: Table, classify: LGBMModel, labels: NDArray[Any]) -> Table:
    """Return a table whose weights are multiplied by those of its classes, if the estimator is to weigh them."""
    if classify.class_weight is None:
        return table
    from sklearn.utils.class_weight import compute_sample_weight

    own = compute_sample_weight(classify.class_weight, labels)
    return replace(table, weight=own if table.weight is None else own * table.weight)


def fit_in_network(seat: Seat, classify: LGBMModel, encoded: Any, labels: Any, **options: Any) -> None:
    """Call ``classify.fit`` as one of several processes; ``classify`` is as after a fit to all rows in one.

    Args:
        seat: This process's place.
        classify: The unfitted estimator.
        encoded: This process's rows, as the encoder makes them.
        labels: Their labels.
        options: What ``fit`` takes by name.
    """
    from sklearn.base import clone

    others: dict[str, Any] = {}
    text, own = dict(_TEXT), dict[str, Any]()
    if seat.common.processes > 1:
        others = {"tree_learner": "data", "num_machines": seat.common.processes}
        if classify.min_child_samples == 0:
            # The same to a process that counts: a leaf has a row. By an estimate of none, LightGBM would fail.
            others["min_child_samples"] = 1
            text["min_data_in_leaf"], own["min_child_samples"] = "0", 0
    one = clone(classify).set_params(class_weight=None, **others)
    with _joined(seat, options.get("eval_X") is not None):
        one.fit(encoded, labels, **options)
    restore(classify, one, text, own, _TEXT)
    classify._class_weight = classify.class_weight


def model_digest(classify: LGBMModel) -> str:
    """Return a digest of a fitted estimator's trees, by which processes tell that they made the same ones."""
    text: str = classify.booster_.model_to_string()
    return hashlib.sha256(text.encode()).hexdigest()


def _parameters(classify: LGBMModel) -> dict[str, Any]:
    """Return the parameters by which rows are sampled and binned, and others."""
    apart = ("class_weight", "objective")
    return {name: value for name, value in classify.get_params().items() if value is not None and name not in apart}


@contextmanager
def _joined(seat: Seat, validated: bool) -> Iterator[None]:
    """Have LightGBM's scikit-learn interface bin by the common bins, then meet the others, then fit with them."""
    made: list[lightgbm.Dataset] = []
    plain = vars(sklearn)["Dataset"]

    def dataset(data: Any, **options: Any) -> lightgbm.Dataset:
        one: lightgbm.Dataset = plain(data=data, **options)
        if not made:
            one.reference = _reference(seat.common.bins, one)
        else:
            one.set_reference(made[0])
        made.append(one)
        # Read and binned before the others are met: none of them waits for a slow one at a socket.
        one.construct()
        if len(made) == 1 + validated:
            _meet(seat)
        return one

    plain_labels = vars(sklearn)["_LGBMLabelEncoder"]

    def all_labels() -> Any:
        """Return an encoder that learns the labels of all rows, whatever those here are."""
        made = plain_labels()
        learn = made.fit

        def fit(y: Any) -> Any:
            del y, made.fit
            return learn(seat.common.labels)

        made.fit = fit
        return made

    with (
        patch("lightgbm.sklearn.Dataset", dataset),
        patch("lightgbm.sklearn._LGBMLabelEncoder", all_labels),
    ):
        try:
            yield
        finally:
            _LIBRARY.LGBM_NetworkFree()


def _meet(seat: Seat) -> None:
    machines, port = seat.meet()
    if seat.common.processes > 1:
        _call(
            _LIBRARY.LGBM_NetworkInit(
                ctypes.c_char_p(machines.encode()),
                ctypes.c_int(port),
                ctypes.c_int(TIME_OUT),
                ctypes.c_int(seat.common.processes),
            )
        )


def _reference(bins: bytes, data: lightgbm.Dataset) -> lightgbm.Dataset:
    """Return a data set without rows that has the bins, and else says what the one says that refers to it."""
    reference = type(data)(None, params=dict(data.params or {}), categorical_feature=data.categorical_feature)
    reference.pandas_categorical = []
    reference._handle = ctypes.c_void_p()
    _call(
        _LIBRARY.LGBM_DatasetCreateFromSerializedReference(
            ctypes.c_char_p(bins),
            ctypes.c_int32(len(bins)),
            ctypes.c_int64(1),
            ctypes.c_int32(1),
            ctypes.c_char_p(b""),
            ctypes.byref(reference._handle),
        )
    )
    return reference
