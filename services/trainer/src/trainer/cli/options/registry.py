"""The options about the registry: the registered model's name, and whether the best model becomes a version of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainer.cli.options.option import Function, gathered, option
from trainer.config.defaults import MODEL

model_name_option = option(
    "--model-name",
    default=MODEL,
    show_default=True,
    group="Registry",
    env="TRAINER_MODEL_NAME",
    help="The registered model; created where it does not exist.",
)


@dataclass(frozen=True)
class RegistryOptions:
    """Whether to register the best model, and as what."""

    register: bool
    model_name: str


def registry_options(register: bool) -> Callable[[Function], Function]:
    """Return a decorator that adds the options of the model registry.

    Args:
        register: Whether the best model is registered by default.
    """
    register_option = option(
        "--register/--no-register",
        default=register,
        show_default=True,
        group="Registry",
        env="TRAINER_REGISTER",
        help="Register the best model as a version of the registered model, if that has not been done.",
    )
    return gathered("registry", RegistryOptions, register_option, model_name_option)
