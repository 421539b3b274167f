"""What MLflow stores encrypted can be read by each later server, since its keys come from files and stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent

from .stack import Stack, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT = WebhookEvent(WebhookEntity.REGISTERED_MODEL, WebhookAction.CREATED)
# Nothing is sent there: no registered model is created while the webhooks exist. No name, for the server has no DNS.
ADDRESS = "https://9.9.9.9/mlflow"


# The server's routes for them are off, unless this asks for them.
SETTINGS = {"MLFLOW_EXTRA_ROUTES": "webhooks"}


@pytest.fixture
def webhooks(crash_stack: Stack) -> Iterator[tuple[str, str]]:
    """The ids of a webhook with a secret and of one without."""
    crash_stack.up(settings=SETTINGS)
    client = MlflowClient(crash_stack.url, crash_stack.url)
    created: Any = [
        client.create_webhook("signed", ADDRESS, [EVENT], secret="s3cret"),
        client.create_webhook("plain", ADDRESS, [EVENT]),
    ]
    yield tuple(webhook.webhook_id for webhook in created)
    crash_stack.sql("DELETE FROM webhooks")
    crash_stack.up()


def test_webhook_with_a_secret_outlives_the_server(crash_stack: Stack, webhooks: tuple[str, str]) -> None:
    for again in (("restart", "mlflow"), ("up", "--detach", "--wait", "--no-deps", "--force-recreate", "mlflow")):
        crash_stack.compose(*again, settings=SETTINGS)
        crash_stack.wait_healthy("mlflow")
        client = MlflowClient(crash_stack.url, crash_stack.url)
        assert {webhook.name for webhook in client.list_webhooks()} == {"signed", "plain"}
        assert client.get_webhook(webhooks[0]).name == "signed"
        assert client.update_webhook(webhooks[0], secret="another").name == "signed"
    for webhook in webhooks:
        client.delete_webhook(webhook)
    assert list(client.list_webhooks()) == []


def test_webhook_under_another_key_is_reported(crash_stack: Stack, webhooks: tuple[str, str]) -> None:
    """Webhook under another key is told at the start."""
    secret = crash_stack.sql("SELECT secret FROM webhooks WHERE webhook_id = %s", webhooks[0])[0][0]
    # As another key would have made it.
    other = secret[:20] + secret[:19:-1]
    crash_stack.sql("UPDATE webhooks SET secret = %s WHERE webhook_id = %s", other, webhooks[0])
    crash_stack.compose("restart", "mlflow")
    crash_stack.wait_healthy("mlflow")
    warning = "webhooks whose secret was encrypted with another key: 1."
    wait_until(lambda: warning in crash_stack.logs("mlflow"), "the start tells of it")
