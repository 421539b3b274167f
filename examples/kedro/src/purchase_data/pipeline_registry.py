"""The project's pipelines."""

from kedro.pipeline import Pipeline

from purchase_data.pipeline import create_pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Returns the pipelines by name; there is one."""
    return {"__default__": create_pipeline()}
