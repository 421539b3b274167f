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
from typing import TYPE_CHECKING, Any

from trainer.tracking.connection import make_client
from trainer.tracking.errors import is_missing
from trainer.tracking.model_uri import ModelUri
from trainer.tracking.settings import as_default
from trainer.training.model_format import code_in
from trainer.util.errors import InputError, TrainerError, downloading
from trainer.util.text import one_line

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

#: Which models are served: those whose format runs no code, or all that MLflow can load.
SAFE, ANY = FORMATS = ("safe", "any")
#: How long a version that could not be loaded is left alone, in seconds.
RETRY = 60.0


@dataclass(frozen=True)
class ServedModel:
    """A model that can be served, and the URI of exactly this one: no alias."""

    uri: str
    model: PyFuncModel


class ModelError(TrainerError):
    """A model cannot be found, loaded, or used."""


class _RefusedError(ModelError):
    """A model is not loaded, because of its format."""


def load(uri: str, tracking_uri: str | None = None, formats: str = SAFE) -> ServedModel:
    """Download a model, load it, and have it predict its own input example.

    Args:
        uri: A model's URI without alias.
        tracking_uri: The server that has it.
        formats: SAFE refuses a model whose format can run code, before anything of it is loaded; ANY takes it.

    Raises:
        ModelError: One of the steps failed, or the model is refused.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    folder = Path(tempfile.mkdtemp(prefix="trainer-model-"))
    try:
        with as_default(tracking_uri), downloading(folder):
            files = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
            if formats == SAFE and (code := code_in(files)) is not None:
                raise _RefusedError(
                    f"{uri} is refused, because its format can run code: {code}; served are models in skops format and"
                    " LightGBM's text format (SERVING_FORMATS=any, or --formats any, serves all)"
                )
            model = mlflow.pyfunc.load_model(str(files))
        example = model.input_example
        if example is not None:
            model.predict(example)
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, _RefusedError):
            raise
        what = one_line(error, 500)
        if isinstance(error, MlflowException | OSError | TrainerError):
            raise ModelError(f"{uri} cannot be loaded: {what}") from error
        # Whatever the code of a model raises.
        raise ModelError(f"{uri} cannot be loaded: {type(error).__name__}: {what}") from error
    # A model may read its files late: they go when no request uses it any more.
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    return ServedModel(uri, model)


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

    @property
    def followed(self) -> bool:
        """Tells whether another model can come: the URI names an alias."""
        return self._named is not None and self._named.alias is not None

    def require(self) -> None:
        """Load the model that the URI names for good.

        Raises:
            ModelError: That failed.
        """
        self.loaded = load(self.uri, self._tracking_uri, self._formats)
        self._say(f"serving {self.uri}")

    def check(self) -> None:
        """Look which model it is now, and load it where it is another one. What was loaded stays if that fails."""
        try:
            uri = self._resolve()
            if self.loaded is not None and self.loaded.uri == uri:
                self._refused = None
                return
            if self._refused is not None and self._refused[0] == uri and self._clock() < self._refused[1]:
                return
            self._refused = (uri, self._clock() + RETRY)
            self.loaded = load(uri, self._tracking_uri, self._formats)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is a next look
            what = one_line(error)
            self._say(f"{what}; {self.loaded.uri} stays" if self.loaded is not None else what)
            return
        self._say(f"serving {uri}")

    def _resolve(self) -> str:
        """Return the URI of the version that the alias names now.

        Raises:
            ModelError: The registry does not answer, or has no such model or alias.
            TrackingError: The tracking URI cannot be used.
        """
        from mlflow.exceptions import MlflowException

        assert self._named is not None  # noqa: S101 - only aliases are followed
        name, alias = str(self._named.name), str(self._named.alias)
        client = make_client(self._tracking_uri)
        try:
            version: Any = client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if is_missing(error):
                raise ModelError(f"no version of {name} has the alias {alias}; trainer promote gives it") from error
            raise ModelError(f"the registry does not answer: {one_line(error, 200)}") from error
        return f"models:/{name}/{version.version}"

    def _say(self, text: str) -> None:
        # Once, however often it is looked at.
        if text != self.said:
            self.said = text
            self._note(text)
