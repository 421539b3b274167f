"""LightGBM's own library, asked without its Python package.

`import lightgbm` takes pandas, scikit-learn, pyarrow and SciPy along where they are installed: 150 MiB and a second.
The library's C interface is documented and kept stable, and prediction needs a few of its functions.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.serving import leaf_sums
from trainer.serving.leaf_sums import LeafSums
from trainer.util.errors import TrainerError
from trainer.util.processors import available_cpus

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NORMAL, _LEAVES, _FLOAT64, _ROW_MAJOR, _ALL = 0, 2, 1, 1, -1
#: One thread a call. Requests are answered side by side, and so are the parts of a large one: LightGBM's own threads
#: would wait for each other on busy processors.
_PARAMETERS = b"num_threads=1 verbosity=-1"
#: Rows of the smallest part: starting a thread takes as long as a few of them.
_PART_ROWS = 256


class Booster:
    """A LightGBM model. Any thread may use it.

    LightGBM notes in a model which of its trees the last caller asked for. So each range of trees that is asked for is
    a model of its own, which is only ever asked as a whole.
    """

    def __init__(self, text: str, iterations: int) -> None:
        """Load a model's text.

        Args:
            text: The model as LightGBM writes it.
            iterations: How many of its iterations predict; all for 0 or less.

        Raises:
            TrainerError: LightGBM cannot read the text.
        """
        whole = _Trees(text)
        self._trees = whole.part(0, iterations) if 0 < iterations < whole.iterations else whole
        #: How many columns a row has.
        self.width = self._trees.width
        #: How many outputs a row has: one for each of several classes.
        self.outputs = self._trees.outputs
        self._sums = LeafSums.read(text, iterations)
        blocks = self._sums.blocks if self._sums is not None else ()
        self._blocks = {first: self._trees.part(first, end - first) for first, end in blocks}
        self._row = _Row(self._trees)

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (rows,) or (rows, outputs) predictions for a (rows, width) matrix in the order of rows."""
        rows = len(matrix)
        if rows == 1:
            return self._row.predict(matrix)
        # LightGBM's C library does not check what it is given.
        if matrix.dtype != np.float64 or matrix.shape != (rows, self.width) or not matrix.flags.c_contiguous:
            raise ValueError(f"a matrix of shape {matrix.shape}")
        if rows < 2 * _PART_ROWS or (parts := min(available_cpus(), rows // _PART_ROWS)) < 2:
            return self._part(matrix)
        # LightGBM's library lets other threads run meanwhile, and a row's prediction does not depend on other rows.
        with ThreadPoolExecutor(parts) as pool:
            return np.concatenate(list(pool.map(self._part, np.array_split(matrix, parts))))

    def prove_blocks(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the predictions as LightGBM makes them by itself; blocks of trees that differ are not used again."""
        found = self._trees.predict(matrix)
        if self._sums is not None and self._sums.probabilities(matrix, self._leaves).tobytes() != found.tobytes():
            self._sums = None
        return found

    def _part(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._sums is not None and len(matrix) >= leaf_sums.FEWEST_ROWS:
            return self._sums.probabilities(matrix, self._leaves)
        return self._trees.predict(matrix)

    def _leaves(self, matrix: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        return self._blocks[first].leaves(matrix)


class _Trees:
    """A model that LightGBM has loaded, and that is asked as a whole."""

    def __init__(self, text: str) -> None:
        library = _library()
        iterations, classes, width = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        self.handle = ctypes.c_void_p()
        loaded = library.LGBM_BoosterLoadModelFromString(
            text.encode(), ctypes.byref(iterations), ctypes.byref(self.handle)
        )
        _check(loaded)
        weakref.finalize(self, library.LGBM_BoosterFree, self.handle)
        _check(library.LGBM_BoosterGetNumClasses(self.handle, ctypes.byref(classes)))
        _check(library.LGBM_BoosterGetNumFeature(self.handle, ctypes.byref(width)))
        self.iterations, self.outputs, self.width = iterations.value, classes.value, width.value

    def part(self, first: int, count: int) -> _Trees:
        """Return some of the iterations as a model."""
        length, write = ctypes.c_int64(), _library().LGBM_BoosterSaveModelToString
        _check(write(self.handle, first, count, 0, 0, ctypes.byref(length), None))
        text = ctypes.create_string_buffer(length.value)
        _check(write(self.handle, first, count, 0, length.value, ctypes.byref(length), text))
        return _Trees(text.value.decode())

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (rows,) or (rows, outputs) predictions."""
        shape = len(matrix) if self.outputs == 1 else (len(matrix), self.outputs)
        return self._ask(matrix, _NORMAL, np.empty(shape))

    def leaves(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (rows, trees) leaves of a model with one output."""
        return self._ask(matrix, _LEAVES, np.empty((len(matrix), self.iterations)))

    def _ask(self, matrix: NDArray[np.float64], kind: int, result: NDArray[np.float64]) -> NDArray[np.float64]:
        length = ctypes.c_int64()
        _check(
            _library().LGBM_BoosterPredictForMat(
                self.handle,
                matrix.ctypes.data,
                _FLOAT64,
                len(matrix),
                self.width,
                _ROW_MAJOR,
                kind,
                0,
                _ALL,
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

    def __init__(self, trees: _Trees) -> None:
        library = _library()
        # Kept, since what is prepared is of its model.
        self._trees = trees
        self._matrix, self._length = np.empty((1, trees.width)), ctypes.c_int64()
        self._result = np.empty(1 if trees.outputs == 1 else (1, trees.outputs))
        self._lock, self._prepared = Lock(), ctypes.c_void_p()
        _check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                trees.handle, _NORMAL, 0, _ALL, _FLOAT64, trees.width, _PARAMETERS, ctypes.byref(self._prepared)
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
    library.LGBM_BoosterSaveModelToString.argtypes = [
        *(pointer, integer, integer, integer, ctypes.c_int64, pointer, pointer)
    ]
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
