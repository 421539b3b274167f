"""Promotion: each constraint by itself, and the command from end to end on models that really load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from trainer.cli.main import main
from trainer.data.dataset import Table
from trainer.data.sources import load_data
from trainer.promotion import constraints
from trainer.promotion.compared_rows import TestRows
from trainer.promotion.constraints import Constraint
from trainer.promotion.sandbox import SandboxResult
from trainer.promotion.signature import Signature
from trainer.promotion.version_scoring import VersionMetrics
from trainer.training.unseen_rows import UnseenRows

from ..conftest import Answer
from ..registry.test_registry import client_of

GOOD = SandboxResult(seconds=2.0, peak_mib=300.0, latency_ms=5.0)


def rules(**content: Any) -> Any:
    """Return a policy."""
    from trainer.promotion.policy import PromotionPolicy

    return PromotionPolicy(**content)


def only(constraints: Any) -> Constraint:
    (constraint,) = constraints
    assert isinstance(constraint, Constraint)
    return constraint


# In a clean process ---------------------------------------------------------------------------------------------------


def test_good_model_satisfies_time_memory_and_latency() -> None:
    found = list(constraints.in_a_clean_process(GOOD, rules(latency_ms=5.0, memory_mib=300, seconds=2)))
    assert [one.name for one in found] == ["loads and predicts", "memory", "latency of 1 row, p50"]
    assert all(one.passed for one in found)


def test_slow_predictions_fail_the_latency_only() -> None:
    found = constraints.in_a_clean_process(GOOD, rules(latency_ms=4.9))
    assert [one.name for one in found if not one.passed] == ["latency of 1 row, p50"]


def test_unseen_rows_of_both_have_to_be_shown(table: pd.DataFrame) -> None:
    """Where that fails for the champion alone, the constraint fails as well, and says of which version."""
    rows = Table(table.drop(columns="purchase"), table["purchase"].astype(int).to_numpy())
    shown = UnseenRows(np.arange(50), "its own 50 test rows")
    unknown = UnseenRows(np.arange(0), "", problem="its model lists no rows")
    for version, common, words in (
        (shown, shown, None),
        (unknown, unknown, "its model lists no rows; to promote"),
        (shown, unknown, "beside version 4: its model lists no rows; to promote"),
    ):
        found = only(constraints.on_unseen_rows(TestRows("t", rows, version, common), "4", rules()))
        assert found.passed == (words is None)
        assert (words or "its own 50 test rows") in found.detail


def test_unloadable_model_fails_all_constraints() -> None:
    """Model that does not load fails what could not be measured as well."""
    outcome = SandboxResult(error="cannot load: ValueError: no")
    found = [one for one in constraints.in_a_clean_process(outcome, rules(latency_ms=9)) if not one.passed]
    assert [one.name for one in found] == ["loads and predicts", "latency of 1 row, p50"]
    assert all("cannot load: ValueError: no" in one.detail for one in found)


# Format ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("serialization", "passed"), [("skops", True), ("cloudpickle", False)])
def test_format_of_a_model(tmp_path: Path, serialization: str, passed: bool) -> None:
    """A pickled model runs code when it is loaded; one of scikit-learn's in skops format does not."""
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(np.eye(2), [0, 1])
    folder = tmp_path / "model"
    mlflow.sklearn.save_model(model, folder, serialization_format=serialization, pip_requirements=[])
    found = constraints.format_without_code(folder)
    assert (found.name, found.passed) == ("format", passed)
    assert ("cloudpickle" in found.detail) is not passed


def test_format_of_a_folder_that_is_no_model(tmp_path: Path) -> None:
    found = constraints.format_without_code(tmp_path)
    assert not found.passed
    assert "its files are no model" in found.detail


# Metrics --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "value", "bound", "passed"),
    [
        ("minimum", "f1", 0.5, 0.5, True),
        ("minimum", "f1", 0.4999, 0.5, False),
        ("maximum", "log_loss", 0.3, 0.3, True),
        ("maximum", "log_loss", 0.3001, 0.3, False),
    ],
)
def test_bounds_of_metrics(kind: str, name: str, value: float, bound: float, passed: bool) -> None:
    found = only(constraints.on_their_own(VersionMetrics({name: value}), rules(**{kind: {name: bound}})))
    assert (found.passed, found.value, found.bound) == (passed, value, bound)


def test_figure_that_is_not_known_fails() -> None:
    assert not only(constraints.on_their_own(VersionMetrics({"f1": 0.5}), rules(minimum={"roc_auc": 0.1}))).passed
    missing = only(constraints.on_their_own(VersionMetrics(problem="it broke"), rules(minimum={"roc_auc": 0.1})))
    assert (missing.passed, missing.detail) == (False, "cannot be told: it broke")


@pytest.mark.parametrize(
    ("name", "value", "its", "tolerance", "passed"),
    [
        ("f1", 0.70, 0.71, 0.01, True),
        ("f1", 0.6999, 0.71, 0.01, False),
        ("f1", 0.9, 0.71, 0.0, True),
        ("log_loss", 0.31, 0.3, 0.01, True),
        ("log_loss", 0.3101, 0.3, 0.01, False),
        ("log_loss", 0.1, 0.3, 0.0, True),
    ],
)
def test_tolerance_beside_the_champion(name: str, value: float, its: float, tolerance: float, passed: bool) -> None:
    found = only(
        constraints.beside_the_champion(
            VersionMetrics({name: value}, "rows"),
            "7",
            VersionMetrics({name: its}, "rows"),
            rules(champion={name: tolerance}),
        )
    )
    assert found.passed is passed, found
    assert "version 7 has" in found.detail


def test_metrics_of_other_rows_are_not_compared() -> None:
    for one, other in (("a", "b"), (None, None), ("a", None)):
        metrics, its = VersionMetrics({"f1": 0.9}, one), VersionMetrics({"f1": 0.1}, other)
        found = only(constraints.beside_the_champion(metrics, "7", its, rules(champion={"f1": 0.1})))
        assert not found.passed
        assert "not logged on the same test rows" in found.detail
        assert "--data" in found.detail


def test_unscorable_champion_blocks() -> None:
    """Champion that cannot be scored blocks and says what to do."""
    its = VersionMetrics(problem="cannot load: gone")
    found = only(
        constraints.beside_the_champion(VersionMetrics({"f1": 1.0}, "a"), "7", its, rules(champion={"f1": 0.1}))
    )
    assert not found.passed
    assert "version 7" in found.detail
    assert "put 'champion: false' into the policy" in found.detail


def test_first_champion_is_not_compared() -> None:
    """First champion has nothing to be compared with."""
    found = only(
        constraints.beside_the_champion(VersionMetrics({"f1": 0.1}, "a"), None, None, rules(champion={"f1": 0}))
    )
    assert found.passed


# Signatures -----------------------------------------------------------------------------------------------------------


def signature(
    inputs: Mapping[str, str], outputs: Mapping[str, str] | None = None, optional: tuple[str, ...] = ()
) -> Signature:
    return Signature(
        {name: (type_, name not in optional) for name, type_ in inputs.items()},
        {name: (type_, True) for name, type_ in (outputs or {"y": "long"}).items()},
    )


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (signature({"a": "double"}), signature({"a": "double"}), ""),
        (signature({"b": "string", "a": "double"}), signature({"a": "double", "b": "string"}), ""),
        (signature({"a": "double"}), signature({"a": "long"}), ""),
        (signature({"a": "any"}), signature({"a": "long"}), ""),
        (signature({"a": "long"}), signature({"a": "double"}), "a is long instead of double"),
        (signature({"a": "string"}), signature({"a": "double"}), "a is string instead of double"),
        (signature({"a": "double"}), signature({"a": "double", "b": "long"}), "it lacks b"),
        (signature({"a": "double", "b": "long"}), signature({"a": "double"}), "it also needs b"),
        (signature({"a": "double", "b": "long"}, optional=("b",)), signature({"a": "double"}), ""),
        (signature({"a": "long"}), signature({"a": "long"}, optional=("a",)), "a is required"),
        (signature({"a": "long"}, {"y": "string"}), signature({"a": "long"}), "it returns string instead of long"),
        (signature({"a": "long"}, {"z": "long"}), signature({"a": "long"}), "it returns z instead of y"),
    ],
)
def test_signatures_differ_in(new: Signature, old: Signature, expected: str) -> None:
    assert "; ".join(new.differences(old)) == expected


# From end to end ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame) -> Path:
    """Sessions in a file; models 1 and 2 learn from them, 3 knows nothing, and 4 takes other columns."""
    folder = tmp_path_factory.mktemp("promote")
    table.to_csv(folder / "shop.csv", index=False)
    noise = table.copy()
    noise["purchase"] = np.random.default_rng(1).permutation(noise["purchase"].to_numpy())
    noise.to_csv(folder / "noise.csv", index=False)
    other = table.drop(columns="month").assign(
        weekend=lambda t: t["weekend"].map({True: "on", False: "off"}), extra=1.5
    )
    other.to_csv(folder / "other.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def store(shop: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A store with four versions."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(request.getfixturevalue("_template"), folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in [name for name in os.environ if name.startswith(("TRAINER_", "MLFLOW_"))]:
            patch.delenv(name)
        for name, leaves in (("shop", 6), ("shop", 5), ("noise", 5), ("other", 5)):
            options = ["--n-estimators", "20", "--num-leaves", str(leaves), "--target", "purchase", "--register"]
            with pytest.raises(SystemExit) as ended:
                main(["--data", str(shop / f"{name}.csv"), *options])
            assert not ended.value.code
    return folder


@pytest.fixture
def models(workdir: Path, store: Path) -> MlflowClient:
    """The four versions in a registry of the test's own. Their files are all tests', to be left as they are."""
    shutil.copy(store / "mlflow.db", workdir)
    return client_of()


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias("purchase_predict", "champion").version)


def test_life_of_a_champion(models: MlflowClient, trainer: Callable[..., Answer], shop: Path) -> None:
    data = ("--data", shop / "shop.csv", "--target", "purchase")
    (shop / "lenient.yaml").write_text(
        yaml.safe_dump({"champion": {"f1": 0.2, "average_precision": 0.2}, "latency_ms": 5_000})
    )
    lenient = ("--policy", shop / "lenient.yaml")
    # The same without the measured latency, which takes a second.
    (shop / "quick.yaml").write_text(
        yaml.safe_dump({"champion": {"f1": 0.2, "average_precision": 0.2}, "latency_ms": False})
    )
    quick = ("--policy", shop / "quick.yaml")

    dry = trainer("promote", "--version", 1, *lenient, "--dry-run", "--json")
    assert (dry.code, dry.json["promoted"], dry.json["satisfied"]) == (0, False, True)
    assert dry.json["seconds"] > 0
    assert {"name", "passed", "value", "unit", "detail"} <= set(dry.json["constraints"][0])
    assert "champion" not in models.get_registered_model("purchase_predict").aliases
    assert not models.get_registered_model("purchase_predict").tags

    # Without data: what the runs have logged.
    first = trainer("promote", "models:/purchase_predict/1", *quick)
    assert first.code == 0, first.err
    assert "as logged by the runs" in first.out
    assert champion(models) == "1"

    second = trainer("promote", "--version", 2, *data, *quick, "--json")
    assert second.code == 0, second.err
    assert (second.json["champion_before"], second.json["champion"]) == ("1", "2")
    metrics = second.json["metrics"]
    for number, whose in (("1", "champion"), ("2", "version")):
        tags = models.get_model_version("purchase_predict", number).tags
        logged = {name: float(tags[f"test.{name}"]) for name in metrics[whose]}
        # Scored here in a clean process, on the same rows as in training.
        assert metrics[whose] == pytest.approx(logged)
    tags = models.get_model_version("purchase_predict", "2").tags
    assert tags["trainer.previous_champion"] == "1"
    assert tags["trainer.approved_policy"] == second.json["policy"]
    assert "version 1: f1" in tags["trainer.approved_metrics"]

    already = trainer("promote", "--version", 2)
    assert already.code == 0
    assert "is champion already" in already.err

    noise = trainer("promote", "--version", 3, *data, *quick)
    assert noise.code == 3
    lines = [line for line in noise.err.splitlines() if line.startswith("trainer: not satisfied: ")]
    assert {line.split(": ")[2] for line in lines} >= {"roc_auc", "average_precision vs champion"}
    assert "refused" in noise.error
    assert noise.error.endswith("champion stays version 2")
    assert noise.out.count("FAILED") == len(lines)
    assert champion(models) == "2"

    # Other rows: the logged metrics cannot be compared; and the signature is another one. Both are listed.
    other = trainer("promote", *quick, "--json")
    assert other.code == 3
    assert other.json["version"] == "4"
    failed = {one["name"]: one["detail"] for one in other.json["constraints"] if not one["passed"]}
    assert "not logged on the same test rows" in failed["f1 vs champion"]
    assert "it lacks month" in failed["signature"]
    assert "it also needs extra" in failed["signature"]
    assert "weekend is string instead of boolean" in failed["signature"]

    assert trainer("promote", "--rollback", "--dry-run").code == 0
    assert champion(models) == "2"
    back = trainer("promote", "--rollback")
    assert (back.code, champion(models)) == (0, "1")
    assert trainer("promote", "--rollback").code == 3


def test_version_is_scored_on_its_own_test_rows(
    workdir: Path, trainer: Callable[..., Answer], shop: Path, tmp_path: Path
) -> None:
    """A version of another seed that knows its training rows by heart does not win by being scored on them."""
    data = ("--data", shop / "shop.csv", "--target", "purchase")
    policy = tmp_path / "policy.yaml"
    policy.write_text("{minimum: false, latency_ms: false, champion: {average_precision: 0.0}}")
    rules = (*data, "--policy", policy)
    by_heart = ("--n-estimators", 300, "--min-child-samples", 2)
    trained = [
        trainer("--register", *data, "--test-size", 0.4, *options, "--json")
        for options in (("--n-estimators", 20, "--num-leaves", 5), ("--seed", 7, *by_heart))
    ]
    client_of().set_registered_model_alias("purchase_predict", "champion", "1")
    second = trainer("promote", "--version", 2, *rules, "--json")
    assert second.code == 3, second.err
    metrics = second.json["metrics"]
    logged = {name: trained[1].json["metrics"][name] for name in metrics["version"]}
    assert metrics["version"] == pytest.approx(logged)
    assert metrics["version_beside_champion"]["average_precision"] < metrics["champion"]["average_precision"] < 0.9
    unseen = next(one for one in second.json["constraints"] if one["name"] == "unseen rows")
    assert unseen["passed"]
    assert "seed 7, test size 0.4" in unseen["detail"]
    assert "rows that neither was trained on" in unseen["detail"]


def test_version_split_by_time_is_scored_by_time(
    workdir: Path, trainer: Callable[..., Answer], table: pd.DataFrame
) -> None:
    """A weighted version of a split by time, beside a champion of groups: each by what its run recorded."""
    rng = np.random.default_rng(9)
    rows = len(table)
    tagged = table.assign(day=rng.permutation(rows), w=rng.uniform(0.5, 4, rows), who=rng.integers(0, rows // 2, rows))
    tagged.to_csv("shop.csv", index=False)
    data = ("--data", "shop.csv", "--target", "purchase")
    Path("policy.yaml").write_text("{minimum: false, latency_ms: false, champion: {average_precision: 1.0}}")
    fit = ("--n-estimators", 20, "--num-leaves", 5, "--test-size", 0.4, "--register", "--json")
    assert trainer(*data, *fit, "--group", "who", "--drop", "day,w").code == 0
    later = trainer(*data, *fit, "--time", "day", "--weight", "w", "--drop", "who")
    assert later.code == 0, later.err
    client_of().set_registered_model_alias("purchase_predict", "champion", "1")
    promoted = trainer("promote", "--version", 2, *data, "--policy", "policy.yaml", "--json")
    assert promoted.code == 0, promoted.err
    metrics = promoted.json["metrics"]
    assert metrics["version"] == pytest.approx({name: later.json["metrics"][name] for name in metrics["version"]})
    unseen = next(one for one in promoted.json["constraints"] if one["name"] == "unseen rows")
    assert "by --time day" in unseen["detail"]
    assert "rows that neither was trained on" in unseen["detail"]
    (run,) = client_of().search_runs([one.experiment_id for one in client_of().search_experiments()],
                                     filter_string="params.time_column = 'day'")  # fmt: skip
    assert run.data.params["weight_column"] == "w"
    assert run.data.params["test_first_time"] == str(rows - int(run.data.params["rows_test"]))


def test_rows_of_training_alone_are_refused(
    workdir: Path, trainer: Callable[..., Answer], shop: Path, tmp_path: Path
) -> None:
    data = ("--data", shop / "shop.csv", "--target", "purchase")
    assert trainer("--register", *data, "--n-estimators", 5).code == 0
    dataset = load_data(shop / "shop.csv", target="purchase")
    dataset.train.features.assign(purchase=dataset.train.target).to_csv(tmp_path / "seen.csv", index=False)
    answer = trainer("promote", "--data", tmp_path / "seen.csv", "--target", "purchase", "--json")
    assert answer.code == 3
    failed = {one["name"]: one["detail"] for one in answer.json["constraints"] if not one["passed"]}
    assert "put 'unseen: false' into the policy" in failed["unseen rows"]
    assert answer.json["metrics"]["version"] == {}


def test_what_is_not_there_is_named(models: MlflowClient, trainer: Callable[..., Answer]) -> None:
    for arguments, message in (
        (("--version", 9), "purchase_predict has no version 9; its latest versions are 4, 3, 2, 1"),
        (("models:/purchase_predict/9",), "purchase_predict has no version 9"),
        (("models:/purchase_predict@best",), "has no alias 'best'"),
        (("models:/other/1",), "there is no registered model 'other'; the registered models are purchase_predict"),
        (("models:/purchase_predct/1",), "no registered model 'purchase_predct'; did you mean 'purchase_predict'?"),
        (("models:/other/1", "--model-name", "purchase_predict"), "add --model-name other"),
        (("runs:/abc/model",), "this run is not registered as purchase_predict"),
        (("nonsense",), "names no version; expected models:/NAME/VERSION"),
        (("models:/other",), "models:/other: names no version; expected models:/NAME/VERSION"),
        (("other/1", "--model-name", "absent"), "other/1: names no version; expected models:/NAME/VERSION"),
        (("--model-name", "absent"), "there is no registered model 'absent'"),
        (("--version", 1, "models:/purchase_predict/1"), "both name a version"),
        (("--version", 1, "--rollback"), "--rollback finds the version itself"),
        (("--data", "none.csv"), "none.csv: no such file"),
    ):
        answer = trainer("promote", *arguments)
        assert answer.code == 2, answer.err
        assert message in answer.error
    by_run = trainer("promote", f"runs:/{models.get_model_version('purchase_predict', '1').run_id}/x", "--dry-run")
    assert "checking version 1" in by_run.err


def test_embedded_registry_that_is_not_there(
    trainer: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = trainer("promote")
    assert answer.code == 2
    assert "no such file" in answer.error
    assert not list(tmp_path.iterdir())


def test_version_whose_files_are_gone(models: MlflowClient, trainer: Callable[..., Answer]) -> None:
    location = models.get_model_version_download_uri("purchase_predict", "1").removeprefix("file://")
    gone = Path(location).rename(location + ".gone")
    answer = trainer("promote", "--version", 1)
    gone.rename(location)
    assert answer.code == 1
    assert "models:/purchase_predict/1 cannot be downloaded" in answer.error
    assert "champion" not in models.get_registered_model("purchase_predict").aliases


@pytest.mark.cold
def test_model_that_does_not_load_is_refused(models: MlflowClient, trainer: Callable[..., Answer]) -> None:
    location = models.get_model_version_download_uri("purchase_predict", "1").removeprefix("file://")
    file = Path(location) / "model.skops"
    content = file.read_bytes()
    file.write_bytes(b"no model")
    answer = trainer("promote", "--version", 1, "--json")
    file.write_bytes(content)
    assert answer.code == 3
    assert not {one["name"]: one["passed"] for one in answer.json["constraints"]}["loads and predicts"]
    assert "cannot load" in answer.err
