"""services/mlflow: a log_batch of the usual form is read as MLflow reads it, and any other form is left to MLflow."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, RunTag
from mlflow.protos.service_pb2 import LogBatch
from mlflow.utils.proto_json_utils import parse_dict
from replica_server.patches.batch_requests import UnusualError, usual

RUN = "a" * 32
METRIC = {"key": "loss", "value": 0.5, "timestamp": 1, "step": 2}


def theirs(content: dict[str, Any]) -> tuple[str, list[Metric], list[Param], list[RunTag]]:
    """Returns what MLflow's handler makes of a request's JSON."""
    message = LogBatch()
    parse_dict(content, message)  # type: ignore[no-untyped-call]
    return (
        message.run_id,
        [Metric.from_proto(one) for one in message.metrics],
        [Param.from_proto(one) for one in message.params],
        [RunTag.from_proto(one) for one in message.tags],
    )


def shown(batch: tuple[str, list[Metric], list[Param], list[RunTag]]) -> str:
    """Returns a batch as a text: NaN is like itself there, and 1 is not like 1.0."""
    run_id, metrics, params, tags = batch
    return repr([run_id, *([vars(one) for one in items] for items in (metrics, params, tags))])


texts = st.text(min_size=1, max_size=5)
number = st.floats(allow_nan=False, allow_infinity=False)
metrics = st.fixed_dictionaries(
    {
        "key": texts,
        "value": st.one_of(
            number, st.integers(-(2**70), 2**70), st.sampled_from(["NaN", "Infinity", "-Infinity", "0.5"])
        ),
        "timestamp": st.one_of(st.integers(-(2**63), 2**63 - 1), st.just(1.0), st.just("7")),
    },
    optional={"step": st.integers(-(2**63), 2**63 - 1), "model_id": st.text(max_size=2), "run_id": texts},
)
pairs = st.fixed_dictionaries({"key": texts, "value": st.text(max_size=5)})


@given(
    st.fixed_dictionaries(
        {"run_id": texts},
        optional={
            "metrics": st.lists(metrics, max_size=4),
            "params": st.lists(pairs, max_size=3),
            "tags": st.lists(pairs, max_size=3),
            "runId": texts,
        },
    )
)
def test_batch_is_read_as_mlflow_reads_it(content: dict[str, Any]) -> None:
    try:
        batch = usual(content)
    except UnusualError:
        return
    assert shown(batch) == shown(theirs(content))


def test_what_clients_send_is_usual() -> None:
    """As MLflow's clients write it: numbers that JSON has not as texts, a model's metric with its links."""
    links = {"model_id": "m-1", "dataset_name": "d", "dataset_digest": "e", "run_id": RUN}
    values = [{**METRIC, "value": value} for value in ("NaN", "Infinity", "-Infinity", 1, 1e300)]
    content = {
        "run_id": RUN,
        "metrics": [METRIC, {**METRIC, **links}, *values],
        "params": [{"key": "p", "value": ""}],
        "tags": [{"key": "t", "value": "x"}],
    }
    batch = usual(content)
    assert shown(batch) == shown(theirs(content))
    assert math.isnan(batch.metrics[2].value)


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": ""},
        {"run_uuid": RUN},
        {"metrics": {}},
        {"metrics": ["text"]},
        *({"metrics": [{**METRIC, **odd}]} for odd in ({"key": ""}, {"key": 1}, {"value": None}, {"value": True})),
        *({"metrics": [{**METRIC, **odd}]} for odd in ({"timestamp": 1.5}, {"step": "2"}, {"step": 2**63})),
        *({"metrics": [{**METRIC, **odd}]} for odd in ({"modelId": "m"}, {"model_id": 1}, {"more": 1})),
        {"metrics": [{"key": "loss", "value": 1.0}]},
        {"params": [{"key": "p"}]},
        {"params": [{"key": "p", "value": 1}]},
        {"tags": [{"key": "", "value": "x"}]},
        {"tags": None},
    ],
)
def test_other_forms_are_left_to_mlflow(change: dict[str, Any]) -> None:
    with pytest.raises(UnusualError):
        usual({"run_id": RUN, "metrics": [METRIC], **change})


@pytest.mark.parametrize("content", [None, [], "text", {}])
def test_no_batch_is_left_to_mlflow(content: Any) -> None:
    with pytest.raises(UnusualError):
        usual(content)
