"""What model URIs name."""

from __future__ import annotations

import pytest
from trainer.tracking.model_uri import ModelUri


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("runs:/abc/model", ModelUri(run_id="abc", path="model")),
        ("runs:/abc", ModelUri(run_id="abc")),
        ("models:/m-1f2e", ModelUri(model_id="m-1f2e")),
        ("models:/shop/3", ModelUri(name="shop", version="3")),
        ("models:///shop/3", ModelUri(name="shop", version="3")),
        ("models:/shop@champion", ModelUri(name="shop", alias="champion")),
        ("models:/shop/latest", ModelUri(name="shop", stage="latest")),
        ("models:/m-of-us@champion", ModelUri(name="m-of-us", alias="champion")),
        ("models:/shop", None),
        ("shop.csv", None),
        ("models:/shop/3/more", None),
        ("", None),
    ],
)
def test_uri_names_one_thing(text: str, named: ModelUri | None) -> None:
    assert ModelUri.parse(text) == named
