"""Searches: trials as nested runs, reproducible, resumable, shared, and pruned."""

from __future__ import annotations

import csv
import errno
import itertools
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from optuna.trial import TrialState
from trainer.comparison.collect import Selection, collect
from trainer.data.dataset import Dataset
from trainer.runs.plan import Plan
from trainer.searches import heartbeat, search, study, study_pruner
from trainer.searches.heartbeat import OWNER, WorkerHeartbeat
from trainer.searches.pruning_callback import STEPS, PruningCallback
from trainer.searches.sampler import SeededSampler
from trainer.searches.search import run_search
from trainer.searches.space import Dimension, Space
from trainer.searches.storage import open_storage
from trainer.searches.study_pruner import StudyPruner
from trainer.searches.trials import Trials
from trainer.util.errors import InputError, TrainerError

from ..conftest import warm_pool

BASE = {"n_estimators": 20, "num_leaves": 6}
SPACE = Space((Dimension("learning_rate", low=0.05, high=0.5, log=True), Dimension("max_depth", low=2, high=6)))
FILE = "learning_rate: {low: 0.05, high: 0.5, log: true}\nmax_depth: [2, 3, 4, 5]\n"
SMALL = ("--n-estimators", 8, "--num-leaves", 6)
Trainer = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]


def settings(trials: int, storage: str = "s.journal", **more: Any) -> search.Settings:
    return search.Settings(trials, storage, **more)


def trials(storage: str = "s.journal") -> list[optuna.trial.FrozenTrial]:
    opened = open_storage(storage)
    (found,) = optuna.get_all_study_names(opened)
    return list(optuna.load_study(storage=opened, study_name=found).trials)


def nested(plan: Plan) -> tuple[list[Any], list[Any]]:
    runs = list(MlflowClient(plan.destination.uri).search_runs([plan.destination.experiment_id]))
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    return [run for run in runs if run not in children], children


def test_search_resumes_under_the_same_parent(dataset: Dataset, plan: Plan) -> None:
    """Search resumes to the same trials under the same parent."""
    whole = run_search(SPACE, BASE, dataset, plan, warm_pool(1), settings(4, "whole.journal"))
    part = run_search(SPACE, BASE, dataset, plan, warm_pool(1), settings(2))
    rest = run_search(SPACE, BASE, dataset, plan, warm_pool(1), settings(4))
    assert part.run_id == rest.run_id
    assert [r.overrides for r in rest.results] == [r.overrides for r in whole.results]
    assert [r.metrics for r in rest.results] == [r.metrics for r in whole.results]
    assert len({str(r.overrides) for r in rest.results}) == 4
    parents, children = nested(plan)
    assert {run.info.run_id for run in parents} == {whole.run_id, rest.run_id}
    assert sum(run.data.tags["mlflow.parentRunId"] == rest.run_id for run in children) == 4
    assert {run.info.status for run in [*parents, *children]} == {"FINISHED"}
    client = MlflowClient(plan.destination.uri)
    parent = client.get_run(rest.run_id)
    assert rest.best is not None
    assert parent.data.metrics["f1"] == rest.best.metrics["f1"]
    assert parent.data.tags["trainer.best_run_id"] == rest.best.run_id
    assert parent.data.params["space.learning_rate"] == "0.05 to 0.5, log"
    # One comparison after another: none is written over.
    assert {file.path for file in client.list_artifacts(rest.run_id)} == {"after_2_trials", "after_4_trials"}
    table = client.download_artifacts(rest.run_id, f"{search.comparison_folder(rest)}/{search.TABLE}")
    with Path(table).open(newline="") as stream:
        assert [row["run_id"] for row in csv.DictReader(stream)] == [r.run_id for r in rest.results]
    # Nothing left to do: no more trials, and the same result.
    assert run_search(SPACE, BASE, dataset, plan, warm_pool(1), settings(4)).results == rest.results
    # In the experiment's table stand trials alone: a parent repeats the metrics of one of them.
    compared = collect(
        Selection(experiment=plan.destination.experiment_id), uri=plan.destination.uri, wait=0, ui_url=None
    )
    assert {run.run_id for run in compared.runs} == {run.info.run_id for run in children}


def test_unpromising_trials_are_pruned_and_marked(dataset: Dataset, plan: Plan) -> None:
    # So slow a learner ranks the rows well from its first tree on: only its probabilities are bad.
    plan = replace(plan, config=replace(plan.config, metric="log_loss"))
    # The second keeps trials apart and changes no figure: of two good ones none is worse.
    rows = Dimension("subsample_for_bin", low=100_000, high=200_000)
    space = Space((Dimension("learning_rate", choices=(0.000001, 0.3)), rows))
    chosen = settings(10, "sqlite:///trials.db", sampler="random")
    done = run_search(space, BASE, dataset, plan, warm_pool(2), chosen)
    assert done.pruned
    assert all(result.overrides["learning_rate"] == 0.000001 for result in done.pruned)
    assert not done.failed
    client = MlflowClient(plan.destination.uri)
    for result in done.pruned:
        run = client.get_run(str(result.run_id))
        assert run.info.status == "KILLED"
        assert run.data.tags["trainer.pruned"] == "true"
        compared = collect(Selection(names=(str(result.run_id),)), uri=plan.destination.uri, wait=0, ui_url=None)
        assert [one.status for one in compared.runs] == ["PRUNED"]
        assert "failure_reason" not in run.data.tags
        assert "f1" not in run.data.metrics
        assert len(client.get_metric_history(str(result.run_id), "validation_log_loss")) == result.pruned
        assert 5 <= int(result.pruned or 0) < 20
    states = [trial.state for trial in trials("sqlite:///trials.db")]
    assert states.count(TrialState.PRUNED) == len(done.pruned)
    assert client.get_run(done.run_id).data.tags["trainer.trials_pruned"] == str(len(done.pruned))


def test_weighted_trials_are_not_pruned(dataset: Dataset, plan: Plan) -> None:
    """Weights make each class likelier, which costs log loss and changes nothing in how the rows are ranked."""
    rows = Dimension("subsample_for_bin", low=100_000, high=200_000)
    space = Space((Dimension("class_weight", choices=(None, "balanced")), rows))
    chosen = settings(16, "sqlite:///trials.db", sampler="random")
    done = run_search(space, {**BASE, "learning_rate": 0.3}, dataset, plan, warm_pool(2), chosen)
    of = {
        weight: [one for one in done.results if one.overrides["class_weight"] == weight]
        for weight in (None, "balanced")
    }
    last = {trial.number: trial.intermediate_values for trial in trials("sqlite:///trials.db")}
    assert all(0 <= value <= 1 for values in last.values() for value in values.values())
    finished = [one for one in of["balanced"] if one.status == "FINISHED"]
    assert finished
    # What is reported on the way is what is compared in the end.
    for one in finished:
        values = last[int(one.name.split()[1])]
        assert values[max(values)] == pytest.approx(one.metrics["validation_average_precision"])


def test_search_chooses_by_the_given_metric(dataset: Dataset, plan: Plan) -> None:
    """Search chooses by the metric that is asked for."""
    plan = replace(plan, config=replace(plan.config, metric="log_loss"))
    space = Space((Dimension("class_weight", choices=(None, "balanced")),))
    done = run_search(space, BASE, dataset, plan, warm_pool(1), settings(4, sampler="random", pruner="none"))
    losses = [one.metrics["validation_log_loss"] for one in done.results]
    assert len(set(losses)) > 1
    assert done.best is not None
    assert done.best.metrics["validation_log_loss"] == min(losses)
    assert done.best.score == -min(losses)


def test_failed_trials_end_the_search(dataset: Dataset, plan: Plan) -> None:
    """Failed trials are reported and the search ends."""
    broken = Space((Dimension("learning_rate", low=0.1, high=0.2),), {"max_bin": -7})
    with pytest.raises(search.SearchFailedError, match=r"2 trials failed; trial \d: LightGBM refuses") as error:
        run_search(broken, BASE, dataset, plan, warm_pool(1), settings(2))
    assert error.value.result.best is None
    parents, children = nested(plan)
    assert [run.info.status for run in children] == ["FAILED", "FAILED"]
    assert "max_bin" in parents[0].data.params


def test_study_of_another_setting_is_refused(dataset: Dataset, plan: Plan) -> None:
    opened = open_storage("s.journal")
    sampler = SeededSampler("random", 1)
    assert study.open_study(opened, "mine", "one setting", sampler).made
    assert not study.open_study(opened, "mine", "one setting", sampler).made
    with pytest.raises(InputError, match="name another one with --study"):
        run_search(SPACE, BASE, dataset, plan, warm_pool(1), settings(2, study="mine"))


def test_interrupt_is_reported_without_a_server(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt is told though the server goes before others get their parent back."""

    def gone(*_args: object, **_kwargs: object) -> None:
        raise MlflowException("the server is gone")

    def parent_is_interrupted(member: WorkerHeartbeat) -> None:
        with search._parent(opened, member, plan):
            monkeypatch.setattr(MlflowClient, "update_run", gone)
            raise KeyboardInterrupt

    opened = study.open_study(open_storage("s.journal"), "s", "x", SeededSampler("tpe", 1))
    with WorkerHeartbeat(opened.study), WorkerHeartbeat(opened.study) as member, pytest.raises(KeyboardInterrupt):
        parent_is_interrupted(member)
    assert nested(plan)[0][0].info.status == "KILLED"


def test_reopened_parent_ends_on_interrupt(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parent that is reopened as Ctrl c comes is ended."""

    def interrupted(client: MlflowClient, run_id: str, status: str) -> None:
        reopen(client, run_id, status)
        raise KeyboardInterrupt

    reopen = MlflowClient.update_run
    tracking = plan.destination.open()
    with tracking.run("parent", {}) as parent:
        pass
    monkeypatch.setattr(MlflowClient, "update_run", interrupted)
    with pytest.raises(KeyboardInterrupt), tracking.reopened(parent.run_id):
        pass
    assert tracking.client.get_run(parent.run_id).info.status == "KILLED"


def test_only_abandoned_trials_are_given_up(workdir: Path) -> None:
    """Abandoned trials are given up and running ones are not."""
    opened = study.open_study(open_storage("s.journal"), "s", "x", SeededSampler("tpe", 1)).study
    abandoned, running = opened.ask(), opened.ask()
    abandoned.set_user_attr(OWNER, "who is gone")
    with WorkerHeartbeat(opened) as other, WorkerHeartbeat(opened) as member:
        running.set_user_attr(OWNER, other.token)
        assert member.others()
        member.release_abandoned()
        assert [trial.state for trial in trials()] == [TrialState.FAIL, TrialState.RUNNING]


def test_old_trial_without_owner_is_given_up(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trial without an owner is given up when it is old."""
    opened = study.open_study(open_storage("s.journal"), "s", "x", SeededSampler("tpe", 1)).study
    opened.ask()  # its process is about to write its name
    member = WorkerHeartbeat(opened)
    member.release_abandoned()
    assert [trial.state for trial in trials()] == [TrialState.RUNNING]
    monkeypatch.setattr(heartbeat, "_SILENCE", 0.0)
    member.release_abandoned()
    assert [trial.state for trial in trials()] == [TrialState.FAIL]


def test_first_process_gets_the_last_trial(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of processes that draw the last trial at once the first goes on."""
    opened = study.open_study(open_storage("s.journal"), "s", "x", SeededSampler("tpe", 1)).study
    ask = opened.ask

    def after_another(*given: Any) -> optuna.Trial:
        ask(*given).set_user_attr(OWNER, other.token)
        return ask(*given)

    monkeypatch.setattr(opened, "ask", after_another)
    with WorkerHeartbeat(opened) as other, WorkerHeartbeat(opened) as member:
        assert list(Trials(SPACE, BASE, opened, member, 1).draw()) == []
    assert [trial.state for trial in trials()] == [TrialState.RUNNING, TrialState.FAIL]


def test_trial_reports_once_at_each_point(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trial reports once at each point and is not ended at the last."""

    class AtTheEnd(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:  # noqa: ARG002
            return trial.last_step == steps[-1]

    steps = list(range(1, STEPS + 1))
    opened = study.open_study(open_storage("s.journal"), "s", "x", SeededSampler("tpe", 1)).study
    monkeypatch.setattr(study_pruner, "make_pruner", lambda _kind: AtTheEnd())
    callback = PruningCallback(opened.ask().number, "log_loss", StudyPruner(open_storage("s.journal"), "s", "median"))
    end = 2 * STEPS
    for iteration in range(end):
        results = [("validation", "binary_logloss", float(iteration), False)]
        callback(SimpleNamespace(iteration=iteration, end_iteration=end, evaluation_result_list=results))
    assert trials()[0].intermediate_values == {step: -float(2 * step - 1) for step in steps}


def test_repeated_trial_reports_from_the_start(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it reported on a machine that was lost does not count before it is there again."""
    seen: list[int | None] = []

    class Recording(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:  # noqa: ARG002
            seen.append(trial.last_step)
            return False

    opened = study.open_study(open_storage("s.journal"), "s", "x", SeededSampler("tpe", 1)).study
    monkeypatch.setattr(study_pruner, "make_pruner", lambda _kind: Recording())
    report = StudyPruner(open_storage("s.journal"), "s", "median")
    number = opened.ask().number
    for step in (1, 2, 3, 1, 2):
        report(number, step, step / 10)
    assert seen == [1, 2, 3, 1, 2]
    assert trials()[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}


def test_study_goes_on_after_half_a_line(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def opened() -> optuna.Study:
        return study.open_study(open_storage("s.journal"), "s", "x", SeededSampler("tpe", 1)).study

    first = opened()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(TrainerError, match=r"^s\.journal: cannot be written \(--storage\): No space left"):
            first.set_user_attr("lost", 1)
    journal = workdir / "s.journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    first.set_user_attr("kept", 2)
    opened().set_user_attr("more", 3)
    assert {name: opened().user_attrs.get(name) for name in ("lost", "kept", "more")} == {
        "lost": None,
        "kept": 2,
        "more": 3,
    }


def test_busy_study_keeps_the_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage that is busy for a moment ends no sign of life."""
    opened = optuna.create_study()
    write, beats, goes_on = opened.set_user_attr, itertools.count(), threading.Event()

    def busy_once(name: str, value: float) -> None:
        beat = next(beats)
        if beat == 1:
            raise OSError("the storage is busy")
        write(name, value)
        if beat > 1:
            goes_on.set()

    monkeypatch.setattr(heartbeat, "_BEAT", 0.01)
    monkeypatch.setattr(opened, "set_user_attr", busy_once)
    with WorkerHeartbeat(opened):
        assert goes_on.wait(10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--storage", "no/such/folder/x.journal"], ["no/such/folder", "--storage"]),
        (["--storage", "oracle://u:secret@h/x"], ["oracle://h/x", "--storage"]),
        (["--storage", "nosuch://h/x"], ["nosuch://h/x", "--storage"]),
        (["--space", "none.yaml"], ["none.yaml", "no such file"]),
        (["--trials", "0"], ["--trials"]),
        (["--sampler", "grid"], ["--sampler", "tpe"]),
        (["--num-leafs", "3"], ["did you mean --num-leaves?"]),
        (["--trails", "3"], ["did you mean --trials?"]),
    ],
)
def test_wrong_usage_is_one_line(trainer: Trainer, workdir: Path, arguments: list[str], words: list[str]) -> None:
    answer = trainer("search", *arguments)
    assert answer.code in (1, 2)
    for word in words:
        assert word in answer.error
    assert "secret" not in answer.err


def test_processes_share_one_search(start: Start, workdir: Path) -> None:
    (workdir / "space.yaml").write_text(FILE)
    command = ("search", "--space", "space.yaml", "--trials", 5, "--jobs", 1, *SMALL)
    processes = [start(*command) for _ in range(2)]
    for process in processes:
        assert process.wait(120) == 0, process.communicate()[1]
    found = [trial for trial in trials("optuna.journal") if trial.state == TrialState.COMPLETE]
    assert len(found) == 5
    assert len({trial.user_attrs[OWNER] for trial in found}) == 2
    client = MlflowClient(f"sqlite:///{workdir}/mlflow.db")
    experiment = client.get_experiment_by_name("purchase_predict")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len([run for run in runs if "mlflow.parentRunId" not in run.data.tags]) == 1
    assert len(runs) == 6
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_interrupted_search_frees_its_trials(start: Start, workdir: Path) -> None:
    """Interrupted search marks its runs and frees its trials."""
    (workdir / "space.yaml").write_text(FILE + "n_estimators: [99999]\n")
    command = ("search", "--space", "space.yaml", "--trials", 1, "--jobs", 1, "--num-leaves", 6)
    process = start(*command)
    client = MlflowClient(f"sqlite:///{workdir}/mlflow.db")
    deadline = time.monotonic() + 60
    runs: list[Any] = []
    while len(runs) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        experiment = client.get_experiment_by_name("purchase_predict")
        runs = list(client.search_runs([experiment.experiment_id])) if experiment else []
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, process.communicate()
    assert [client.get_run(run.info.run_id).info.status for run in runs] == ["KILLED", "KILLED"]
    assert [trial.state for trial in trials("optuna.journal")] == [TrialState.FAIL]
