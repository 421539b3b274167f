"""The options of the integration tests: storage, a cut power, the kill matrix, long loads, screenshots."""

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
    parser.addoption("--load", action="store_true", help="run the load tests of a minute each")
    parser.addoption(
        "--kill-matrix", action="store_true", help="run all faults at all moments (default: about ten, of each kind)"
    )
    parser.addoption(
        "--every-button", action="store_true", help="press also what menus and dialogs of the UI show (default: pages)"
    )
    parser.addoption(
        "--screenshots", default="test-output/screenshots", help="the browser test's folder (README's: docs/images)"
    )
    # Test modules build their parameters from it when they are imported, before any fixture or hook could tell them.
    os.environ["TEST_STORAGE"] = parser.parse_known_args(sys.argv[1:]).storage
