"""A model's signature (the columns that it takes and returns), and what callers of one model meet with another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.task import Label
from trainer.training.model_metadata import noted_task, own_column_types
from trainer.util.errors import TrainerError
from trainer.util.text import listed

if TYPE_CHECKING:
    from mlflow.models import Model

#: What a column of one type can be given to as well.
_WIDER: Mapping[str, frozenset[str]] = {
    "integer": frozenset({"long", "float", "double"}),
    "long": frozenset({"double"}),
    "float": frozenset({"double"}),
}
_SIGNATURE_TYPES = {"number": "double", "boolean": "boolean", "text": "string", "unknown": "any"}


@dataclass(frozen=True)
class Signature:
    """A model's columns and outputs: type and whether it is required, by name."""

    inputs: Mapping[str, tuple[str, bool]]
    outputs: Mapping[str, tuple[str, bool]]
    #: The several classes that it answers with, where the trainer made it.
    classes: tuple[Label, ...] = ()

    @classmethod
    def of(cls, folder: Path) -> Signature:
        """Return the signature of the model in a folder.

        Raises:
            TrainerError: The folder holds no model, or one without a signature.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.models import Model

        try:
            described = Model.load(str(folder))
        except (MlflowException, OSError, ValueError, TypeError, KeyError) as error:
            raise TrainerError(f"its files hold no model: {error}") from error
        if described.signature is None or described.signature.inputs is None:
            raise TrainerError("it has no signature")
        task, classes = noted_task(described.metadata)
        inputs, outputs = (
            _columns(described.signature.inputs, described),
            _columns(described.signature.outputs, None),
        )
        return cls(inputs, outputs, classes if task == "multiclass" else ())

    def differences(self, old: Signature) -> list[str]:
        """Return what the callers of another model would run into; empty where there is nothing."""
        found = []
        if missing := [name for name in old.inputs if name not in self.inputs]:
            found.append(f"it lacks {listed(missing)}")
        if extra := [name for name, (_, needed) in self.inputs.items() if needed and name not in old.inputs]:
            found.append(f"it also needs {listed(extra)}")
        for name, (type_, needed) in self.inputs.items():
            if name not in old.inputs:
                continue
            before, was_needed = old.inputs[name]
            if not _takes(type_, before):
                found.append(f"{name} is {type_} instead of {before}")
            elif needed and not was_needed:
                found.append(f"{name} is required")
        if list(self.outputs) != list(old.outputs):
            found.append(f"it returns {listed(self.outputs) or 'no names'} instead of {listed(old.outputs)}")
        else:
            # Those who read its answers take what they took, or less.
            found += [
                f"it returns {type_} instead of {old.outputs[name][0]}"
                for name, (type_, _) in self.outputs.items()
                if not _takes(old.outputs[name][0], type_)
            ]
        if old.classes and (new := [str(name) for name in self.classes if name not in old.classes]):
            found.append(f"it also answers with the class{'es' if len(new) > 1 else ''} {listed(new)}")
        return found


def _columns(schema: Any, described: Model | None) -> dict[str, tuple[str, bool]]:
    """Return a schema's columns; where the trainer's own models say "any", the kind that they were trained on."""
    column_types = (own_column_types(described) if described is not None else None) or {}
    columns: dict[str, tuple[str, bool]] = {}
    for place, spec in enumerate(schema.inputs if schema is not None else ()):
        name = str(spec.name) if spec.name is not None else f"column {place}"
        type_ = getattr(spec.type, "name", None) or str(spec.type).strip("'\"").lower()
        if "any" in type_.lower():
            type_ = _SIGNATURE_TYPES[column_types[name]] if name in column_types else "any"
        columns[name] = (type_, bool(getattr(spec, "required", True)))
    return columns


def _takes(type_: str, given: str) -> bool:
    return type_ == given or "any" in (type_, given) or type_ in _WIDER.get(given, ())
