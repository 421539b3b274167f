"""Fetches a model and finds out what it says to rows that are hard to answer: the part of loading that needs MLflow.

Run as a program it does so in a process of its own, so that MLflow, pandas and scikit-learn leave the server's memory
with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.serving.model_parts import NotOwnError, read_parts
from trainer.serving.tree_model import TreeModel
from trainer.training.hard_rows import ask_model
from trainer.util.errors import TrainerError
from trainer.util.text import one_line

#: Which models are served: those whose format runs no code, or all that MLflow can load.
SAFE, ANY = FORMATS = ("safe", "any")


class ModelError(TrainerError):
    """A model cannot be found, loaded, or used."""


class RefusedFormatError(ModelError):
    """A model is not loaded, because of its format."""


@dataclass(frozen=True)
class Prepared:
    """A model on the disk: its files, and the digest of its answers; None for a model that is not the trainer's own.

    ``why`` says what makes it another's.
    """

    files: Path
    digest: str | None
    why: str = ""


def prepare(uri: str, folder: Path, tracking_uri: str | None, formats: str) -> Prepared:
    """Fetch a model, check its format, and have one of the trainer's own answer its example and the hard rows.

    Args:
        uri: A model's URI without alias, or a folder.
        folder: Where its files go.
        tracking_uri: The server that has it.
        formats: SAFE refuses a model whose format can run code, before anything of it is loaded; ANY takes it.

    Raises:
        ModelError: One of the steps failed, or the model is refused.
    """
    import mlflow

    from trainer.tracking.settings import as_default
    from trainer.training.model_format import code_in
    from trainer.util.errors import downloading

    with told_as(uri):
        with as_default(tracking_uri), downloading(folder):
            files = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
            if (trees := proven(files)) is not None:
                return Prepared(files, trees.parts.answers)
            if formats == SAFE and (code := code_in(files)) is not None:
                raise RefusedFormatError(
                    f"{uri} is refused, because its format can run code: {code}; served are models in skops format and"
                    " LightGBM's text format (SERVING_FORMATS=any, or --formats any, serves all)"
                )
        try:
            parts = read_parts(files)
        except NotOwnError as error:
            return Prepared(files, None, str(error))
        model = mlflow.pyfunc.load_model(str(files))
        if model.input_example is not None:
            model.predict(model.input_example)
        return Prepared(files, ask_model(model.get_raw_model(), parts.ranges))


def proven(files: Path) -> TreeModel | None:
    """Return a model taken apart if it answers the hard rows as the model itself did when it was saved; else None.

    That is enough to serve it. What it does not show has to be asked of the model itself: an older one carries no
    answers, and another machine's may differ in the last bit.
    """
    try:
        trees = TreeModel.read(files)
        return trees if trees.parts.answers is not None and trees.answers_digest() == trees.parts.answers else None
    except (TrainerError, ValueError):
        return None


@contextmanager
def told_as(uri: str) -> Iterator[None]:
    """Raise whatever goes wrong inside as a ModelError that names the model."""
    try:
        yield
    except RefusedFormatError:
        raise
    except Exception as error:
        known = isinstance(error, OSError | TrainerError) or type(error).__module__.startswith("mlflow.")
        # Whatever the code of a model raises.
        what = one_line(error, 500) if known else f"{type(error).__name__}: {one_line(error, 500)}"
        raise ModelError(f"{uri} cannot be loaded: {what}") from error


class Preparer:
    """Runs ``prepare``: in a process of its own, or in this one where MLflow is loaded anyway."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._ended = False

    def __call__(self, uri: str, folder: Path, tracking_uri: str | None, formats: str) -> Prepared:
        """Return what ``prepare`` returns."""
        if "mlflow" in sys.modules:
            return prepare(uri, folder, tracking_uri, formats)
        command = [sys.executable, "-m", __name__, json.dumps([uri, str(folder), tracking_uri, formats])]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self._ended:
            self._process.kill()
        out, err = self._process.communicate()
        try:
            answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        except (ValueError, IndexError):
            what = one_line((err or out).strip().rpartition("\n")[2], 300)
            code = self._process.returncode
            raise ModelError(f"{uri} cannot be loaded: the process that loads it ended with {code}: {what}") from None
        finally:
            self._process = None
        if "error" in answer:
            raise (RefusedFormatError if answer["refused"] else ModelError)(answer["error"])
        return Prepared(Path(answer["files"]), answer["digest"], answer["why"])

    def end(self) -> None:
        """End the process, if one runs: the server ends."""
        self._ended = True
        if (process := self._process) is not None:
            with suppress(ProcessLookupError):
                process.kill()


def main() -> None:
    """Prepare the model that the argument names, and print what came of it as a line of JSON."""
    import trainer.accelerators.garbage_collection  # noqa: F401 - imported for its effect
    from trainer.tracking.settings import configure

    configure()
    uri, folder, tracking_uri, formats = json.loads(sys.argv[1])
    try:
        prepared = prepare(uri, Path(folder), tracking_uri, formats)
    except ModelError as error:
        answer: dict[str, Any] = {"error": str(error), "refused": isinstance(error, RefusedFormatError)}
    else:
        answer = {"files": str(prepared.files), "digest": prepared.digest, "why": prepared.why}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
