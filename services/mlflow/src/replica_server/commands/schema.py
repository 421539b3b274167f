"""Prints the revision of the database schema that the installed MLflow wants (used when the image is built)."""

from importlib.metadata import distribution

from alembic.script import ScriptDirectory

# Located without importing MLflow's server: this needs only its migration scripts.
MIGRATIONS = "mlflow/store/db_migrations"


def wanted_revision() -> str:
    """Returns the newest revision of MLflow's migration scripts; raises if they have several heads."""
    head = ScriptDirectory(str(distribution("mlflow-skinny").locate_file(MIGRATIONS))).get_current_head()
    if head is None:
        raise RuntimeError(f"{MIGRATIONS} holds no revision: has MLflow moved its migration scripts?")
    return head


if __name__ == "__main__":
    print(wanted_revision())
