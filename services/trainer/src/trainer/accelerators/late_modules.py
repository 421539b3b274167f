"""Loads SciPy's statistics only when they are used. Imported for its effect, before scikit-learn and SciPy.

``import sklearn`` imports ``scipy.stats``, which fits, their metrics and their models do not use. With this, the module
is empty at first, and is loaded when one of its names is used. Where scikit-learn takes a name out of the module while
it is imported itself, the module is loaded when scikit-learn uses that name.

Gain: 0.4 s of the 1.5 s of processor time before the first fit of a sweep can begin (medians of 4 turns side by side,
on a busy machine).
Test: ``test_late_modules.py``.
Can go: when ``import sklearn.metrics`` takes no longer with it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader
else:
    # As in ``lazy_modules``.
    Loader = object

#: The modules, and what scikit-learn takes of each when it is imported: functions and a distribution.
_TAKEN = {"scipy.stats": frozenset({"chi2", "gmean", "rankdata", "spearmanr"})}


class LateModule(ModuleType):
    """A module whose code runs when one of its names is looked up."""

    def __getattr__(self, name: str) -> Any:
        # What belongs to every module is there already. Who looks through all modules for such a name loads none.
        # A package's version is asked for by those who use it.
        if not name.startswith("__") or name == "__all__" or (name == "__version__" and "." not in self.__name__):
            loader: LateLoader = vars(self)["__loader__"]
            if name in _TAKEN[self.__name__] and not loader.loading:
                return LateName(self, name)
            loader.load(self)
            if name in vars(self):
                return vars(self)[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        load(self)
        return sorted(vars(self))


class LateName:
    """Stands for something of a late module."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self._meant()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Without loading the module for those who look through all modules for such a name.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._meant(), name)

    def _meant(self) -> Any:
        load(self._module)
        return vars(self._module)[self._name]


def load(module: ModuleType) -> None:
    """Run a late module's code, unless that has been done."""
    if isinstance(loader := module.__loader__, LateLoader):
        loader.load(module)


class LateLoader(Loader):
    """Makes a late module, and loads it."""

    def __init__(self, whole: Loader) -> None:
        self._whole = whole
        self._lock = threading.RLock()
        self._mine = 0

    @property
    def loading(self) -> bool:
        """Whether this thread runs the module's code, which may ask for names of it that are not there yet."""
        return self._mine == threading.get_ident()

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return an empty module."""
        return LateModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing yet."""

    def load(self, module: ModuleType) -> None:
        """Run the module's code, once; another thread waits for its end. Where it fails, the next use begins anew."""
        with self._lock:
            if self.loading or type(module) is ModuleType or module.__spec__ is None:
                return
            self._mine = threading.get_ident()
            try:
                self._whole.exec_module(module)
            finally:
                self._mine = 0
            module.__loader__ = module.__spec__.loader = self._whole
            module.__class__ = ModuleType


class ImportedLoader(Loader):
    """Gives back a module that has been imported, as it is.

    Args:
        module: The module.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002 - whatever the import system says of it
        """Return the module."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing, and give the module its own spec again."""
        module.__spec__ = self._spec


class LateFinder:
    """Finds the modules, and loads each before a module below it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a late module; None for all others."""
        for late in _TAKEN:
            if name.startswith(f"{late}.") and isinstance(above := sys.modules.get(late), LateModule):
                load(above)
                if (known := sys.modules.get(name)) is not None:
                    # Its package has just imported it: a second copy would lack what the first one holds. The import
                    # system takes the module's own spec then.
                    known.__spec__ = ModuleSpec(name, ImportedLoader(known), is_package=hasattr(known, "__path__"))
                    return known.__spec__
        if name not in _TAKEN:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LateLoader(spec.loader)
        return spec


sys.meta_path.insert(0, LateFinder())
