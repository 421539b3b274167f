"""Finds the model to serve, and loads it. A new one takes the old one's place when it has shown that it predicts."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.serving.prepare import ANY, FORMATS, SAFE, ModelError, Prepared, Preparer, proven, told_as
from trainer.serving.registry_requests import find_version
from trainer.serving.tree_model import TreeModel
from trainer.tracking.model_uri import ModelUri
from trainer.util.errors import InputError, TrainerError
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from trainer.serving.frame_model import FrameModel
    from trainer.serving.own_model import OwnModel

__all__ = ["ANY", "FORMATS", "SAFE", "Champion", "ModelError", "ServedModel", "load"]

#: Seconds until a version that could not be loaded is tried again.
RETRY = 60.0


@dataclass(frozen=True)
class ServedModel:
    """A model that can be served, and the URI of exactly this one: no alias.

    One of the trainer's own is taken apart (``tree_model``) or asked by scikit-learn (``frame_model``). One of
    others is as MLflow loads it (``model``). ``note`` says why it is not taken apart.
    """

    uri: str
    trees: TreeModel | None
    model: PyFuncModel | None = None
    note: str = ""
    frames: FrameModel | None = None

    @property
    def own(self) -> OwnModel | None:
        """The trainer's own model, which answers by itself."""
        return self.trees or self.frames


def load(
    uri: str, tracking_uri: str | None = None, formats: str = SAFE, preparer: Preparer | None = None
) -> ServedModel:
    """Load a model, and have it predict its own input example.

    Args:
        uri: A model's URI without alias.
        tracking_uri: The server that has it.
        formats: SAFE refuses a model whose format can run code, before anything of it is loaded; ANY takes it.
        preparer: Fetches the model.

    Raises:
        ModelError: That failed, or the model is refused.
    """
    if (trees := proven(Path(uri))) is not None:
        return ServedModel(uri, trees)
    with told_as(uri):
        folder = Path(tempfile.mkdtemp(prefix="trainer-model-"))
    served = None
    try:
        prepared = (preparer or Preparer())(uri, folder, tracking_uri, formats)
        with told_as(uri):
            served = _served(uri, prepared)
        return served
    finally:
        late = None if served is None else served.model or served.frames
        if late is not None:
            # Such a model may read its files late: they go when no request uses it any more.
            weakref.finalize(late, shutil.rmtree, folder, ignore_errors=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _served(uri: str, prepared: Prepared) -> ServedModel:
    """Return the model taken apart, if it then answers as the model itself does; and else as MLflow loads it."""
    why = prepared.why
    if prepared.digest is not None:
        try:
            trees = TreeModel.read(prepared.files)
            if trees.answers_digest() == prepared.digest:
                return ServedModel(uri, trees)
            why = "taken apart it answers otherwise"
        except (TrainerError, ValueError) as error:
            why = one_line(error, 200)
    import mlflow

    from trainer.serving.frame_model import frame_model

    model = mlflow.pyfunc.load_model(str(prepared.files))
    if model.input_example is not None:
        model.predict(model.input_example)
    if (frames := frame_model(model)) is not None:
        return ServedModel(uri, None, note=f" by scikit-learn: {why}", frames=frames)
    return ServedModel(uri, None, model, f" by MLflow's own scoring server: {why}")


class Champion:
    """The model behind a URI: loaded once, or for an alias whenever it names another version."""

    def __init__(
        self,
        uri: str,
        tracking_uri: str,
        note: Callable[[str], None] = lambda _text: None,
        clock: Callable[[], float] = time.monotonic,
        formats: str = SAFE,
    ) -> None:
        if not re.match(r"\w+:/", uri) and not Path(uri).is_dir():
            raise InputError(
                f"--model {uri!r} is neither a folder nor a model's URI, such as models:/purchase_predict@champion,"
                " models:/purchase_predict/3 or runs:/<run id>/model"
            )
        self.uri, self._tracking_uri, self._note, self._clock = uri, tracking_uri, note, clock
        self._named = ModelUri.parse(uri)
        self._formats = formats
        self._refused: tuple[str, float] | None = None
        #: What was said last: while no model is loaded, why.
        self.said: str | None = None
        self.loaded: ServedModel | None = None
        #: Whether the last look at the alias failed: there is no answer, no such model, or it cannot be loaded.
        self.failing = False
        self._preparer = Preparer()

    @property
    def followed(self) -> bool:
        """Tells whether another model can come: the URI names an alias."""
        return self._named is not None and self._named.alias is not None

    def require(self) -> None:
        """Load the model that the URI names for good.

        Raises:
            ModelError: That failed.
        """
        self.loaded = load(self.uri, self._tracking_uri, self._formats, self._preparer)
        self._say(f"serving {self.uri}{self.loaded.note}")

    def check(self) -> None:
        """Look which model it is now, and load it where it is another one. What was loaded stays if that fails."""
        try:
            uri = self._resolve()
            if self.loaded is not None and self.loaded.uri == uri:
                self._refused, self.failing = None, False
                return
            if self._refused is not None and self._refused[0] == uri and self._clock() < self._refused[1]:
                return
            self._refused = (uri, self._clock() + RETRY)
            self.loaded = load(uri, self._tracking_uri, self._formats, self._preparer)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is a next look
            self.failing = True
            what = one_line(error)
            self._say(f"{what}; {self.loaded.uri} stays" if self.loaded is not None else what)
            return
        self.failing = False
        self._say(f"serving {uri}{self.loaded.note}")

    def end(self) -> None:
        """Give up what is being loaded: the server ends."""
        self._preparer.end()

    def tell(self, text: str) -> None:
        """Write a line into the log. It does not count as what was said last of the model."""
        self._note(text)

    def _resolve(self) -> str:
        """Return the URI of the version that the alias names now.

        Raises:
            ModelError: The registry does not answer, or has no such model or alias.
            TrackingError: The tracking URI cannot be used.
        """
        assert self._named is not None  # noqa: S101 - only aliases are followed
        name, alias = str(self._named.name), str(self._named.alias)
        return f"models:/{name}/{find_version(self._tracking_uri, name, alias)}"

    def _say(self, text: str) -> None:
        # A line is written once, however often the alias is looked at.
        if text != self.said:
            self.said = text
            self._note(text)
