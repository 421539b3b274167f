"""Model URIs: what ``runs:/…`` and ``models:/…`` name."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORMS = (
    r"runs:/+(?P<run_id>[^/]+)(?:/+(?P<path>.+))?",
    r"models:/+(?P<model_id>m-[^/@]+)",
    r"models:/+(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+)|/(?P<stage>\w+))",
)


@dataclass(frozen=True)
class ModelUri:
    """What a model URI names: a run (and a path among its artifacts), a logged model, or a registered model's version.

    A version is named by its number (``version``), by an alias, or by a stage such as "latest".
    """

    run_id: str | None = None
    path: str | None = None
    model_id: str | None = None
    name: str | None = None
    alias: str | None = None
    version: str | None = None
    stage: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelUri | None:
        """Return what a text names, or None where it is no model URI.

        >>> from trainer.tracking.model_uri import ModelUri
        >>> ModelUri.parse("models:/purchase@champion").alias
        'champion'
        >>> ModelUri.parse("models:/purchase/3").version
        '3'
        >>> ModelUri.parse("purchase.csv") is None
        True
        """
        for form in _FORMS:
            if (match := re.fullmatch(form, text)) is not None:
                return cls(**match.groupdict())
        return None
