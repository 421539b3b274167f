"""The command line, as a user and as a program meets it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from mlflow import MlflowClient
from trainer.cli import preparation
from trainer.cli.main import DefaultGroup
from trainer.cli.main import command as command_group
from trainer.config import parameter_table
from trainer.data.demo import generate_sessions
from trainer.tracking.client import Destination

Trainer = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[str]"]
SMALL = ("--n-estimators", 8, "--num-leaves", 6)


def runs(folder: Path, experiment: str = "purchase_predict") -> list[Any]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found else []


# Help and usage -------------------------------------------------------------------------------------------------------


def test_help_lists_each_command_once(trainer: Trainer) -> None:
    answer = trainer("--help")
    assert answer.code == 0
    listed = re.findall(r"^  trainer ([a-z]+|(?=\[OPTIONS\])).*  [a-z]", answer.out, re.M)
    commands = command_group.list_commands(click.Context(command_group))
    assert sorted(listed) == sorted(["" if name == command_group.default else name for name in commands])
    assert "\nCommands:" not in answer.out


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ((), "trainer                                      the baseline, on made-up sessions"),
        (("sweep",), "trainer sweep --paired n_estimators=200,500 --paired learning_rate=0.05,0.025   2 pairs"),
        (("push",), "trainer push models:/purchase_predict/3 --to https://mlflow.example.org --alias champion"),
    ],
)
def test_help_keeps_the_lines_of_its_examples(trainer: Trainer, command: tuple[str, ...], line: str) -> None:
    text = trainer(*command, "--help").out
    assert line in (shown.strip() for shown in text.splitlines())
    assert "\\b" not in text


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_help_lists_every_parameter_with_its_range(trainer: Trainer, command: str) -> None:
    words = " ".join(trainer(command, "--help").out.split())
    for parameter in parameter_table.PARAMETERS:
        assert parameter.option in words
        if parameter.kind is not bool:
            assert parameter.allowed in words


@pytest.mark.parametrize("command", DefaultGroup.names)
def test_help_names_each_options_variable(trainer: Trainer, command: str) -> None:
    """Help names the variable of each option under a heading."""
    help_ = trainer(command, "--help").out
    words = " ".join(help_.split())
    own = command_group.get_command(click.Context(command_group), command)
    assert own is not None
    for option in own.params:
        # LightGBM's are named in one line for all.
        if option.envvar is not None and option.name not in parameter_table.BY_NAME:
            assert f"env var: {option.envvar}" in words
    assert "\nOther:\n" in help_  # --help alone
    assert ("\nLightGBM: trees:\n" in help_) == (command in ("train", "sweep", "search"))


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom trainer.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('pandas', 'numpy', 'mlflow', 'lightgbm', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


#: Ends the process at the first import of a heavy package, with an exit code of its own.
WATCHED = """
import sys
HEAVY = {"pandas", "numpy", "scipy", "mlflow", "lightgbm", "sklearn", "matplotlib", "optuna", "pyarrow"}
class Finder:
    def find_spec(self, name, path, target=None):
        if name in HEAVY:
            print("imports", name)
            raise SystemExit(77)
sys.meta_path.insert(0, Finder())
sys.stderr.isatty = lambda: True
from trainer.cli.main import main
main(sys.argv[1:])
"""


def run_watched(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WATCHED, *args], capture_output=True, text=True, timeout=150)


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--help"], 0),
        *(([command, "--help"], 0) for command in DefaultGroup.names),
        (["--qqqqq"], 2),
        (["swep"], 2),
        (["--num-leaves", "1"], 2),
        (["--model-name", "a/b"], 2),
        (["sweep", "--jobs", "0"], 2),
        (["sweep", "--grid", "num_leafs=3,4"], 2),
        (["search", "--space", "/nowhere.yaml"], 2),
        (["promote", "--trials", "3"], 2),
    ],
)
def test_help_and_refusals_import_nothing_heavy(args: list[str], code: int) -> None:
    done = run_watched(*args)
    assert done.returncode == code, done.stdout + done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--n-estimators", "5"], "one variant, n_estimators=5"),
        (["sweep", "--grid", "num_leaves=3,4", "--jobs", "1"], "grid of 2 = 2 variants, 1 at a time"),
        (["search", "--trials", "3"], "a search of 3 trials"),
    ],
)
def test_first_line_comes_before_heavy_imports(args: list[str], line: str) -> None:
    """On a terminal, a command says what it does before it imports anything heavy."""
    done = run_watched(*args)
    assert done.returncode == 77
    assert done.stderr.splitlines() == [f"trainer: {line}"]


def test_version_is_shown(trainer: Trainer) -> None:
    assert trainer("--version").out.startswith("trainer 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--num-leafs", "3"], ["--num-leafs", "did you mean --num-leaves?"]),
        (["--bagging-fraction", "0.5"], ["did you mean --subsample?"]),
        (["--dat", "x"], ["did you mean --data?"]),
        (["--folds", "5"], ["did you mean --cv?"]),
        (["--n_splits", "5"], ["did you mean --cv?"]),
        (["--epochs", "5"], ["did you mean --n-estimators?"]),
        (["--label", "y"], ["did you mean --target?"]),
        (["predict", "--output", "x"], ["did you mean --out?"]),
        (["predict", "--evaluate"], ["did you mean trainer evaluate?"]),
        (["score"], ["did you mean 'predict'?"]),
        (["fit"], ["did you mean 'train'?"]),
        (["--qqqqq"], ["--qqqqq; trainer train --help lists them"]),
        (["verify", "--num-leafs", "3"], ["--num-leafs; trainer verify --help lists them"]),
        (["--no-registr"], ["did you mean --no-register?"]),
        (["--num-leaves"], ["--num-leaves"]),
        (["--num-leaves", "1"], ["--num-leaves", "'1'", "from 2 to 131072"]),
        (["--learning-rate", "0"], ["--learning-rate", "'0'", "above 0, up to 1"]),
        (["--learning-rate", "fast"], ["--learning-rate", "'fast'"]),
        (["--boosting-type", "x"], ["--boosting-type", "gbdt, dart, rf"]),
        (["--test-size", "1"], ["--test-size", "above 0 and below 1"]),
        (["--test-size", "0"], ["--test-size", "above 0 and below 1"]),
        (["--validation-size", "x"], ["--validation-size", "'x'"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--explain", "99"], ["--explain", "'99'", "all, or a number of rows from 100"]),
        (["sweep", "--explain", "some"], ["--explain", "'some'"]),
        (["--wait", "-1"], ["--wait"]),
        (["swep"], ["'swep'", "did you mean 'sweep'?"]),
        (["train", "sweep"], ["sweep"]),
        (["--is-unbalance", "--scale-pos-weight", "2"], ["only one of them"]),
        (["--data", "/nowhere/at/all"], ["/nowhere/at/all", "no such file"]),
        (["sweep", "--jobs", "0"], ["--jobs"]),
        (["sweep", "--variants", "/nowhere.yaml"], ["/nowhere.yaml", "no such file"]),
        (["sweep", "--grid", "num_leafs=3,4"], ["--grid", "num_leafs", "did you mean 'num_leaves'?"]),
        (["sweep", "--paired", "num_leaves=3,4", "--paired", "max_depth=3"], ["num_leaves has 2 values", "--grid"]),
        (["sweep", "--variants", "v.yaml", "--grid", "num_leaves=3"], ["either the file or the lists"]),
        (["sweep", "--num-leaves", "1"], ["--num-leaves", "from 2 to 131072"]),
    ],
)
def test_wrong_usage_is_one_line_and_no_run(
    trainer: Trainer, workdir: Path, arguments: list[str], words: list[str]
) -> None:
    answer = trainer(*arguments)
    assert answer.code == 2
    for word in words:
        assert word in answer.error
    assert runs(workdir) == []


def test_bad_data_is_one_line_and_no_run(trainer: Trainer, workdir: Path) -> None:
    (workdir / "t.csv").write_text("a,y\n1,0\n2,0\n")
    answer = trainer("--data", "t.csv", "--target", "y")
    assert answer.code == 2
    assert "one class" in answer.error
    assert runs(workdir) == []


def test_warnings_come_once_before_training(trainer: Trainer, workdir: Path) -> None:
    """What is amiss is said once before anything is trained."""
    # Both variants have the parameter without effect; no server waits at this address.
    answer = trainer(
        "sweep", "--grid", "num_leaves=3,4", "--subsample", 0.5, "--tracking-uri", "http://127.0.0.1:9", "--wait", 0
    )
    assert answer.code == 1
    assert answer.err.count("subsample=0.5 has no effect") == 1
    assert answer.err.count("training on 12,000 generated web-shop sessions") == 1


# Training -------------------------------------------------------------------------------------------------------------


def test_command_that_opens_the_ui_can_be_pasted() -> None:
    destination = Destination("sqlite:////srv/my shop/mlflow.db", "1", "unit")
    command = preparation.ui_command(destination)
    assert command == "mlflow ui --backend-store-uri 'sqlite:////srv/my shop/mlflow.db'"


def test_ui_command_is_short_in_the_folder(workdir: Path) -> None:
    """Command that opens the UI is short in the working directory."""
    destination = Destination(f"sqlite:///{workdir}/mlflow.db", "1", "unit")
    assert preparation.ui_command(destination) == "mlflow ui --backend-store-uri sqlite:///mlflow.db"


def test_links_lead_to_the_ui(trainer: Trainer, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links lead to the UI where a browser finds it."""
    monkeypatch.setenv("TRAINER_UI_URL", "https://ml.example.com")
    answer = trainer(*SMALL, "--tracking-uri", server)
    assert answer.code == 0, answer.err
    assert "https://ml.example.com/#/experiments/" in answer.out
    assert server not in answer.out


def test_trainer_without_a_command_trains(trainer: Trainer, workdir: Path) -> None:
    answer = trainer(*SMALL, "--seed", 3)
    assert answer.code == 0, answer.err
    (run,) = runs(workdir)
    assert run.info.status == "FINISHED"
    assert run.info.run_id in answer.out
    assert f"{run.data.metrics['average_precision']:.4f}" in answer.out
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in answer.out
    assert "generated web-shop sessions" in answer.err
    assert "INFO" not in answer.err
    assert len(answer.err.splitlines()) == 2
    assert run.data.tags["trainer.source_digest"]
    assert Path(run.info.artifact_uri.removeprefix("file://"), "plots", "pr_curve.png").is_file()


def test_json_is_the_whole_of_standard_output(trainer: Trainer, workdir: Path) -> None:
    table = generate_sessions(400, seed=1)
    table.to_csv(workdir / "shop.csv", index=False)
    answer = trainer("train", "--json", *SMALL, "--data", "shop.csv", "--target", "purchase", "--experiment", "mine")
    (run,) = runs(workdir, "mine")
    assert answer.json["run_id"] == run.info.run_id
    assert answer.json["metrics"]["f1"] == run.data.metrics["f1"]
    assert answer.json["overrides"] == {"n_estimators": 8, "num_leaves": 6}
    assert run.data.params["data"] == "shop"


def test_options_come_from_the_environment(trainer: Trainer, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TRAINER_N_ESTIMATORS": "7",
        "TRAINER_IS_UNBALANCE": "true",
        "TRAINER_NUM_LEAVES": "",
        "TRAINER_TARGET": "",
        "TRAINER_SEED": "11",
        "TRAINER_EXPLAIN": "All",
        "TRAINER_PLOT_STYLE": "both",
        "TRAINER_JSON": "1",
        "MLFLOW_EXPERIMENT_NAME": "from the environment",
        "MLFLOW_TRACKING_URI": "",
    }.items():
        monkeypatch.setenv(name, value)
    answer = trainer()
    assert answer.code == 0, answer.err
    (run,) = runs(workdir, "from the environment")
    used = run.data.params
    assert (used["n_estimators"], used["is_unbalance"], used["num_leaves"], used["seed"]) == ("7", "True", "60", "11")
    assert answer.json["name"] == "n_estimators=7 is_unbalance=true"
    client = MlflowClient(f"sqlite:///{workdir}/mlflow.db")
    assert "contributions.csv" in [file.path for file in client.list_artifacts(run.info.run_id)]
    plots = [file.path for file in client.list_artifacts(run.info.run_id, "plots")]
    assert {"plots/roc_curve.png", "plots/roc_curve_dark.png", "plots/roc_curve.csv"} <= set(plots)


def test_wrong_environment_variable_is_named(trainer: Trainer, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINER_NUM_LEAVES", "1")
    answer = trainer()
    assert answer.code == 2
    assert "num-leaves" in answer.error


# What its imports would print is part of it.
@pytest.mark.cold
def test_first_use_in_an_empty_folder_is_quiet(tmp_path: Path, start: Start) -> None:
    """First use in an empty folder works and is quiet."""
    process = start(*SMALL, "--json", "--tracking-uri", f"sqlite:///{tmp_path}/new/fresh.db")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert json.loads(out)["status"] == "FINISHED"
    assert all(line.startswith("trainer: ") for line in err.splitlines()), err
    assert list((tmp_path / "new" / "mlartifacts").rglob("pr_curve.png"))


def test_closed_pipe_is_no_traceback(start: Start, workdir: Path) -> None:
    process = start(*SMALL)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=90)
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert runs(workdir)[0].info.status == "FINISHED"


def test_debug_shows_the_traceback(trainer: Trainer, workdir: Path) -> None:
    answer = trainer("--debug", "--data", "/nowhere")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert "trainer: error: /nowhere: no such file" in answer.err


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_error_in_place_of_an_interrupt_is_one(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """An import in C code drops what a signal's handler raised, and says that there is no such module."""

    def imported(*_args: object, **_options: object) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ImportError('PyCapsule_Import could not import module "pandas"') from None

    monkeypatch.setattr("trainer.data.sources.load_data", imported)
    answer = trainer(*SMALL)
    assert (answer.code, answer.error) == (code, "interrupted")


def test_unexpected_error_is_one_line_too(trainer: Trainer, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.plots.write_run_plots", lambda *_args: 1 / 0)
    answer = trainer(*SMALL)
    assert answer.code == 1
    assert answer.error == "unexpected ZeroDivisionError: division by zero (--debug shows where)"
    (run,) = runs(workdir)
    assert run.info.status == "FAILED"
    assert run.data.tags["failure_reason"] == "division by zero"


# Sweeping -------------------------------------------------------------------------------------------------------------


def test_sweep_prints_a_table_and_the_best(trainer: Trainer, workdir: Path) -> None:
    items = [{"learning_rate": 0.3}, {"learning_rate": 0.05, "name": "slow"}]
    (workdir / "v.yaml").write_text(yaml.safe_dump(items))
    answer = trainer("sweep", "--variants", "v.yaml", *SMALL, "--jobs", 2)
    assert answer.code == 0, answer.err
    found = {run.info.run_name: run for run in runs(workdir)}
    assert set(found) == {"sweep: n_estimators=8 num_leaves=6", "learning_rate=0.3", "slow"}
    for name in ("learning_rate=0.3", "slow"):
        assert found[name].data.params["num_leaves"] == "6"
        (line,) = [line for line in answer.out.splitlines() if found[name].info.run_id in line and "best" not in line]
        assert f"{found[name].data.metrics['average_precision']:.4f}" in line
    assert "[2/2]" in answer.err


def test_sweep_says_what_its_lists_make(trainer: Trainer, workdir: Path) -> None:
    lists = ("--grid", "learning_rate=0.1,0.3,0.3", "--grid", "num_leaves=4,6")
    answer = trainer("sweep", *lists, "--n-estimators", 5, "--jobs", 2)
    assert answer.code == 0, answer.err
    assert "grid of 3 × 2 = 4 variants, 2 at a time" in answer.err
    assert "2 duplicates dropped" in answer.err
    assert len(runs(workdir)) == 5
    words = " ".join(trainer("sweep", "--help").out.split())
    assert "grid of 2 × 2 = 4 variants" in words
    assert "are 2 pairs" in words


def test_sweep_json_holds_all_variants(trainer: Trainer, workdir: Path) -> None:
    (workdir / "v.yaml").write_text("[{n_estimators: 2}, {n_estimators: 3}]")
    content = trainer("sweep", "--variants", "v.yaml", "--json").json
    assert [variant["overrides"] for variant in content["variants"]] == [{"n_estimators": 2}, {"n_estimators": 3}]
    assert content["best_run_id"] in {variant["run_id"] for variant in content["variants"]}


# Signals --------------------------------------------------------------------------------------------------------------


def wait_for_runs(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many runs have begun to train."""
    deadline = time.monotonic() + 150
    while sum("rows_fit" in run.data.params or "variants" in run.data.params for run in runs(folder)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_is_marked_killed(start: Start, workdir: Path, number: int, code: int) -> None:
    process = start("--n-estimators", 100_000)
    wait_for_runs(workdir, 1, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.splitlines()[2:] == ["trainer: error: interrupted"]
    assert "Traceback" not in err
    assert [run.info.status for run in runs(workdir)] == ["KILLED"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_sweep_kills_children_and_parent(start: Start, workdir: Path, number: int) -> None:
    (workdir / "v.yaml").write_text("[{n_estimators: 99997}, {n_estimators: 99998}, {n_estimators: 99999}]")
    process = start("sweep", "--variants", "v.yaml", "--jobs", 2)
    wait_for_runs(workdir, 3, process)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 128 + number
    assert "Traceback" not in err, err
    assert [run.info.status for run in runs(workdir)] == ["KILLED"] * 3


def wait_until_it_answers_signals(process: subprocess.Popen[str]) -> None:
    """Wait until a process has handlers of its own: before, it is Python that starts, and knows nothing of ours."""
    deadline = time.monotonic() + 150
    caught = 0
    while not caught & 1 << (signal.SIGTERM - 1):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)


# Whatever it is doing by then: the command line's own imports, the heavy ones, or the first variant.
@pytest.mark.cold
@pytest.mark.parametrize("seconds", [0, 0.05, 0.1, 0.5, 1.0, 2.0])
def test_terminal_interrupt_prints_one_line(start: Start, workdir: Path, seconds: float) -> None:
    """Ctrl c in a terminal reaches all processes and prints one line."""
    process = start("sweep", "--n-estimators", 99_999, "--jobs", 2, "--experiment", "other", own_group=True)
    wait_until_it_answers_signals(process)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "trainer: error: interrupted"
    assert "Traceback" not in err, err
    assert all(run.info.status == "KILLED" for run in runs(workdir, "other"))


def test_early_ctrl_c_ends_with_its_code(workdir: Path) -> None:
    """Ctrl c while a dataclass is made ends with its code too."""
    (workdir / "interrupted.py").write_text(
        "import sys\n"
        "from trainer import __main__\n"
        "from trainer.cli import main\n"
        "def run():\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
        "main.main = run\n"
        "__main__.main()\n"
    )
    assert subprocess.run([sys.executable, "-m", "interrupted"], cwd=workdir, check=False).returncode == 130


def test_processes_at_once_make_one_database(start: Start, workdir: Path) -> None:
    """Processes that start at once make the database once."""
    (workdir / "mlflow.db").unlink()
    processes = [start("train", *SMALL) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
    assert [run.info.status for run in runs(workdir)] == ["FINISHED"] * 2
