"""The option that chooses which storage the integration tests' stacks use."""

from __future__ import annotations

import os
import sys

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--storage", choices=("minio", "gcs"), default="minio", help="the stacks' storage (default: minio)"
    )
    # Test modules build their parameters from it when they are imported, before any fixture or hook could tell them.
    os.environ["TEST_STORAGE"] = parser.parse_known_args(sys.argv[1:]).storage
