"""LightGBM's own library, asked without its Python package.

`import lightgbm` takes pandas, scikit-learn, pyarrow and SciPy along where they are installed: 150 MiB and a second.
The library's C interface is documented and kept stable, and prediction needs a few of its functions.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.serving.leaf_sums import FEWEST_ROWS, LeafSums
from trainer.util.errors import TrainerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NORMAL, _LEAVES, _FLOAT64, _ROW_MAJOR = 0, 2, 1, 1
#: One thread a call: requests are answered side by side instead, which does not suffer on busy cores.
_PARAMETERS = b"num_threads=1 verbosity=-1"


class Booster:
    """A LightGBM model. Any thread may use it."""

    def __init__(self, text: str, iterations: int) -> None:
        """Load a model's text.

        Args:
            text: The model as LightGBM writes it.
            iterations: How many of its iterations predict; all for 0 or less.

        Raises:
            TrainerError: LightGBM cannot read the text.
        """
        library = _library()
        self._iterations, count, classes, width = iterations, ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        self._handle = ctypes.c_void_p()
        _check(library.LGBM_BoosterLoadModelFromString(text.encode(), ctypes.byref(count), ctypes.byref(self._handle)))
        weakref.finalize(self, library.LGBM_BoosterFree, self._handle)
        _check(library.LGBM_BoosterGetNumClasses(self._handle, ctypes.byref(classes)))
        _check(library.LGBM_BoosterGetNumFeature(self._handle, ctypes.byref(width)))
        #: How many columns a row has.
        self.width = width.value
        #: How many outputs a row has: one for each of several classes.
        self.outputs = classes.value
        self._sums = LeafSums.read(text, iterations)
        self._row = _Row(self._handle, self.width, self.outputs, iterations)

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (rows,) or (rows, outputs) predictions for a (rows, width) matrix in the order of rows."""
        rows = len(matrix)
        if rows == 1:
            return self._row.predict(matrix)
        # What this is given goes past LightGBM's own checks.
        if matrix.dtype != np.float64 or matrix.shape != (rows, self.width) or not matrix.flags.c_contiguous:
            raise ValueError(f"a matrix of shape {matrix.shape}")
        if self._sums is not None and rows >= FEWEST_ROWS:
            return self._sums.probabilities(matrix, self._leaves)
        return self._whole(matrix)

    def prove_blocks(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the predictions as LightGBM makes them by itself; blocks of trees that differ are not used again."""
        found = self._whole(matrix)
        if self._sums is not None and self._sums.probabilities(matrix, self._leaves).tobytes() != found.tobytes():
            self._sums = None
        return found

    def _whole(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        shape = len(matrix) if self.outputs == 1 else (len(matrix), self.outputs)
        return self._ask(matrix, _NORMAL, 0, self._iterations, np.empty(shape))

    def _leaves(self, matrix: NDArray[np.float64], first: int, end: int) -> NDArray[np.float64]:
        return self._ask(matrix, _LEAVES, first, end - first, np.empty((len(matrix), end - first)))

    def _ask(
        self, matrix: NDArray[np.float64], kind: int, first: int, count: int, result: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        length = ctypes.c_int64()
        _check(
            _library().LGBM_BoosterPredictForMat(
                self._handle,
                matrix.ctypes.data,
                _FLOAT64,
                len(matrix),
                self.width,
                _ROW_MAJOR,
                kind,
                first,
                count,
                _PARAMETERS,
                ctypes.byref(length),
                result.ctypes.data,
            )
        )
        if length.value != result.size:
            raise TrainerError(f"LightGBM returns {length.value} values, not {result.size}")
        return result


class _Row:
    """Predicts single rows with what LightGBM prepares once: a fifth of the time of a call for a matrix."""

    def __init__(self, handle: ctypes.c_void_p, width: int, outputs: int, iterations: int) -> None:
        library = _library()
        self._matrix, self._length = np.empty((1, width)), ctypes.c_int64()
        self._result = np.empty(1 if outputs == 1 else (1, outputs))
        self._lock, self._prepared = Lock(), ctypes.c_void_p()
        _check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                handle, _NORMAL, 0, iterations, _FLOAT64, width, _PARAMETERS, ctypes.byref(self._prepared)
            )
        )
        weakref.finalize(self, library.LGBM_FastConfigFree, self._prepared)
        # Made once: each of these objects costs a tenth of the prediction.
        self._call = library.LGBM_BoosterPredictForMatSingleRowFast
        self._arguments = (
            self._prepared,
            ctypes.c_void_p(self._matrix.ctypes.data),
            ctypes.byref(self._length),
            ctypes.c_void_p(self._result.ctypes.data),
        )

    def predict(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        with self._lock:
            self._matrix[0] = row[0]
            _check(self._call(*self._arguments))
            return self._result.copy()


@cache
def _library() -> Any:
    """Return the library in the installed package lightgbm."""
    spec = find_spec("lightgbm")
    if spec is None or spec.origin is None:
        raise TrainerError("LightGBM is not installed here")
    name = {"darwin": "lib_lightgbm.dylib", "win32": "lib_lightgbm.dll"}.get(sys.platform, "lib_lightgbm.so")
    folder = Path(spec.origin).parent
    file = next((found for place in ("lib", "bin", ".") if (found := folder / place / name).is_file()), None)
    if file is None:
        raise TrainerError(f"LightGBM's library {name} is not in {folder}")
    library = ctypes.cdll.LoadLibrary(str(file))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    library.LGBM_BoosterFree.argtypes = library.LGBM_FastConfigFree.argtypes = [pointer]
    library.LGBM_BoosterLoadModelFromString.argtypes = [text, pointer, pointer]
    library.LGBM_BoosterGetNumClasses.argtypes = library.LGBM_BoosterGetNumFeature.argtypes = [pointer, pointer]
    library.LGBM_BoosterPredictForMat.argtypes = [
        *(pointer, pointer, integer, ctypes.c_int32, ctypes.c_int32),
        *(integer, integer, integer, integer, text, pointer, pointer),
    ]
    library.LGBM_BoosterPredictForMatSingleRowFastInit.argtypes = [
        *(pointer, integer, integer, integer, integer, ctypes.c_int32, text, pointer)
    ]
    library.LGBM_BoosterPredictForMatSingleRowFast.argtypes = [pointer, pointer, pointer, pointer]
    return library


def _check(status: int) -> None:
    if status != 0:
        said = _library().LGBM_GetLastError() or b""
        raise TrainerError(f"LightGBM: {said.decode(errors='replace')}")
