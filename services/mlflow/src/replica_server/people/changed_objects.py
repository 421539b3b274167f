"""What each method of MLflow's stores changes: which experiment's, or which registered model's (grants.py).

A method that is in no table here, and that does not read, changes nothing that anybody can be granted.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from replica_server.people.roles import EXPERIMENT, MODEL, Object

Values = dict[str, Any]

TRACE = "SELECT experiment_id FROM trace_info WHERE request_id = %s"
# What need not be there yet: a client gives it its id, and writes into what has that already.
NEW = "new-"
# Which experiment something is in; an evaluation dataset may be in several.
STATEMENTS = {
    "run": "SELECT experiment_id FROM runs WHERE run_uuid = %s",
    "logged-model": "SELECT experiment_id FROM logged_models WHERE model_id = %s",
    "trace": TRACE,
    f"{NEW}trace": TRACE,
    f"{NEW}assessment": "SELECT trace_info.experiment_id FROM assessments JOIN trace_info ON request_id = trace_id"
    " WHERE assessment_id = %s",
    "issue": "SELECT experiment_id FROM issues WHERE issue_id = %s",
    "label-schema": "SELECT experiment_id FROM label_schemas WHERE schema_id = %s",
    "review-queue": "SELECT experiment_id FROM review_queues WHERE queue_id = %s",
    "dataset": "SELECT destination_id FROM entity_associations WHERE source_type = 'evaluation_dataset'"
    " AND destination_type = 'experiment' AND source_id = %s",
}
# The methods of the tracking store that name what they change by one argument.
BY_ARGUMENT = {
    (EXPERIMENT, "experiment_id"): (
        "create_issue",
        "create_label_schema",
        "create_logged_model",
        "create_review_queue",
        "create_run",
        "delete_experiment",
        "delete_experiment_tag",
        "deprecated_start_trace_v2",
        "get_or_create_user_queue",
        "rename_experiment",
        "restore_experiment",
        "set_experiment_tag",
    ),
    ("run", "run_id"): (
        "delete_run",
        "delete_tag",
        "link_traces_to_run",
        "log_inputs",
        "log_outputs",
        "log_param",
        "record_logged_model",
        "restore_run",
        "set_tag",
        "update_run_info",
    ),
    ("logged-model", "model_id"): (
        "delete_logged_model",
        "delete_logged_model_tag",
        "finalize_logged_model",
        "log_logged_model_params",
        "set_logged_model_tags",
    ),
    ("trace", "trace_id"): ("delete_trace_tag", "link_prompts_to_trace", "set_trace_tag", "update_assessment"),
    ("trace", "request_id"): ("deprecated_end_trace_v2",),
    ("dataset", "dataset_id"): ("delete_dataset_tag", "set_dataset_tags", "upsert_dataset_records"),
    ("issue", "issue_id"): ("update_issue",),
    ("label-schema", "schema_id"): ("update_label_schema",),
    ("review-queue", "queue_id"): (
        "add_items_to_review_queue",
        "remove_items_from_review_queue",
        "set_review_queue_item_status",
        "update_review_queue",
    ),
    # What registering a logged model notes on it.
    (MODEL, "name"): ("set_model_versions_tags",),
}
# Those of the registry: each by the model's name. One that is made is there already: clients ask for it nevertheless.
OF_MODELS = (
    "create_model_version",
    "create_registered_model",
    "delete_model_version",
    "delete_model_version_tag",
    "delete_registered_model",
    "delete_registered_model_alias",
    "delete_registered_model_tag",
    "rename_registered_model",
    "set_model_version_tag",
    "set_registered_model_alias",
    "set_registered_model_tag",
    "transition_model_version_stage",
    "update_model_version",
    "update_registered_model",
)
# What changes nothing, by the beginning of its name.
# (log_spans_async comes to log_spans, on another thread.)
READING = re.compile(r"(batch_get|calculate|filter|find|get|list|query|resolve|sanitize|search|sum)_|log_spans_async$")


def _metrics(values: Values, metrics: Iterable[Any]) -> Iterator[Object]:
    yield "run", values["run_id"]
    # It is stored with the logged model too.
    yield from {("logged-model", metric.model_id) for metric in metrics if metric.model_id}


def _dataset_and(values: Values) -> Iterator[Object]:
    yield "dataset", values["dataset_id"]
    yield from ((EXPERIMENT, str(key)) for key in values["experiment_ids"])


def _spans(values: Values) -> Iterator[Object]:
    yield EXPERIMENT, str(values["location"])
    yield from {(f"{NEW}trace", span.trace_id) for span in values["spans"]}


def _trace(values: Values) -> Iterator[Object]:
    info = values["trace_info"]
    yield EXPERIMENT, str(info.experiment_id)
    yield f"{NEW}trace", info.trace_id
    yield from ((f"{NEW}assessment", one.assessment_id) for one in info.assessments or [] if one.assessment_id)


#: What the methods of the tracking store change that name it in another way.
OTHERS: dict[str, Callable[[Values], Iterable[Object]]] = {
    "add_dataset_to_experiments": _dataset_and,
    "create_assessment": lambda values: [("trace", values["assessment"].trace_id)],
    "create_dataset": lambda values: [(EXPERIMENT, str(key)) for key in values["experiment_ids"] or []],
    "log_batch": lambda values: _metrics(values, values["metrics"] or []),
    "log_metric": lambda values: _metrics(values, [values["metric"]]),
    "log_spans": _spans,
    "remove_dataset_from_experiments": _dataset_and,
    "start_trace": _trace,
}


def _by(kind: str, argument: str) -> Callable[[Values], Iterable[Object]]:
    return lambda values: [(kind, str(values[argument]))]


TRACKING = OTHERS | {name: _by(kind, argument) for (kind, argument), names in BY_ARGUMENT.items() for name in names}
REGISTRY = dict.fromkeys(OF_MODELS, _by(MODEL, "name"))


def writing(store: type) -> Iterator[str]:
    """Yields the names of a store's methods that may change something."""
    for name, _ in inspect.getmembers(store, inspect.isfunction):
        if not name.startswith("_") and not READING.match(name):
            yield name
