"""Leaves MLflow's parts for language models out of ``import mlflow``. Imported for its effect, before MLflow.

``import mlflow`` imports them, with FastAPI and what else they need. No command uses them. MLflow's store in a database
does: whoever imports one of them later gets it as ever, and ``mlflow.genai`` becomes one of MLflow's own lazy modules.

Gain: 0.27 s of 0.85 s of processor time in each process that imports MLflow (medians of 3 turns side by side): a run's,
a sweep's, and that of a sweep's processes.
Test: ``test_lazy_modules.py``.
Can go: when ``import mlflow`` takes no longer with them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader
else:
    # It takes 0.02 s to import, which --help need not wait for.
    Loader = object

MODULES = ("mlflow.genai", "mlflow.gateway")


class LazyFinder(Loader):
    """While MLflow is imported, the modules are empty, and what is below them is not there."""

    def __init__(self) -> None:
        self._whole: Loader | None = None
        self._importing = False

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of MLflow, or of an empty module in the place of one; None for all others."""
        if name == "mlflow":
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None:
                self._whole, spec.loader = spec.loader, self
            return spec
        if self._importing and name in MODULES:
            return ModuleSpec(name, self, is_package=True)
        if self._importing and name.rpartition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"{name} is not imported before it is used", name=name)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return nothing: the modules are ordinary ones."""

    def exec_module(self, module: ModuleType) -> None:
        """Import MLflow, and afterwards forget the empty modules; leave an empty one empty."""
        if module.__name__ != "mlflow" or self._whole is None or module.__spec__ is None:
            return
        module.__loader__ = module.__spec__.loader = self._whole
        self._importing = True
        try:
            self._whole.exec_module(module)
        finally:
            self._importing = False
        from mlflow.utils.lazy_load import LazyLoader

        for name in MODULES:
            if sys.modules.pop(name, None) is not None:
                short = name.partition(".")[2]
                vars(module)[short] = LazyLoader(name, vars(module), name)  # type: ignore[no-untyped-call]


sys.meta_path.insert(0, LazyFinder())
