"""The options of the integration tests: which storage their stacks use, and whether an engine loses its power."""

from __future__ import annotations

import os
import sys

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--storage", choices=("minio", "gcs"), default="minio", help="the stacks' storage (default: minio)"
    )
    parser.addoption(
        "--engine-restart", action="store_true", help="run the test that starts an engine of its own and cuts its power"
    )
    # Test modules build their parameters from it when they are imported, before any fixture or hook could tell them.
    os.environ["TEST_STORAGE"] = parser.parse_known_args(sys.argv[1:]).storage
