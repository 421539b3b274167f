"""deploy/gcp: gcloud takes the commands; twice does no more than once; nothing is opened or lost by mistake."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

HERE = Path(__file__).parent
GCP = HERE.parents[2] / "deploy" / "gcp"
PAGES = sorted((GCP.parents[1] / "docs" / "operators").glob("*.md"))
PROVISION = ("provision", "--project", "my-project", "--ranges", "iap,203.0.113.0/24")
TEARDOWN = ("teardown", "--project", "my-project")
SERVER, GC = (f"mlflow-{who}@my-project.iam.gserviceaccount.com" for who in ("server", "gc"))

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """What the fake gcloud knows and records."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gcloud").symlink_to(HERE / "fake_gcloud")
    return tmp_path


@pytest.fixture
def run(world: Path) -> Run:
    """Runs a script of deploy/gcp with the fake gcloud."""

    def run(script: str, *args: str, answers: str = "") -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDSDK_")}
        environment |= {"PATH": f"{world}/bin:{environment['PATH']}", "FAKE_GCLOUD": str(world)}
        command = ["bash", *([str(GCP / script), *args] if script != "-c" else [script, *args])]
        return subprocess.run(
            command, env=environment, input=answers, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def recorded(world: Path) -> list[list[str]]:
    """Returns the calls since the last time, each without what all have at their end."""
    file = world / "calls"
    calls = [shlex.split(line) for line in file.read_text().splitlines()] if file.exists() else []
    file.unlink(missing_ok=True)
    assert all(call[-2:] == ["--project=my-project", "--quiet"] for call in calls)
    return [call[:-2] for call in calls]


def verbs(calls: list[list[str]]) -> set[str]:
    """Returns which verbs the calls hold: whether they ask or act."""
    return {word for call in calls for word in call} & {"describe", "create", "update", "delete", "rm", "enable"}


def things(world: Path) -> list[str]:
    """Returns what exists."""
    return sorted(path.name for path in world.iterdir() if path.name not in ("bin", "calls", "refuse"))


def printed_commands(output: str) -> list[list[str]]:
    """Returns the gcloud commands that a dry run printed, each as its arguments."""
    text = output.replace("||\n", ";").replace("&&\n", ";").replace("\n", ";").replace(">/dev/null 2>&1", "")
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for token in lexer:
        if set(token) == {";"}:
            commands.append([])
        else:
            commands[-1].append(token)
    found = [command for command in commands if command]
    assert {command[0] for command in found} == {"gcloud"}
    return [command[1:] for command in found]


# gcloud's own parser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[list[str]]], list[str | None]]:
    """Asks the installed gcloud's parser about commands, without an account and without running any."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        pytest.skip("gcloud is not installed: its parser cannot judge the commands")
    folder = tmp_path_factory.mktemp("gcloud")
    environment = {
        **os.environ,
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
    }
    form = "--format=value[separator=' '](basic.python_location,installation.sdk_root)"
    info = subprocess.run([gcloud, "info", form], env=environment, capture_output=True, text=True, check=True)
    python, root = info.stdout.split()

    def judge(commands: list[list[str]]) -> list[str | None]:
        done = subprocess.run(
            [python, str(HERE / "gcloud_parser.py"), root],
            # The parser creates the files that a command is to write.
            cwd=folder,
            env=environment,
            input=json.dumps(commands),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        messages: list[str | None] = json.loads(done.stdout)
        return messages

    return judge


def test_gcloud_takes_every_command(run: Run, judge: Callable[[list[list[str]]], list[str | None]]) -> None:
    documented = "\n".join(page.read_text() for page in PAGES)
    commands = [
        *printed_commands(run(*PROVISION, "--https", "all", "--dry-run").stdout),
        *printed_commands(run(*TEARDOWN, "--dry-run", "--delete-artifacts").stdout),
        *(shlex.split(line)[1:] for line in re.findall(r"^ *(gcloud \w.*)$", documented, re.M)),
    ]
    assert len(commands) > 40
    refused = {
        " ".join(command): message for command, message in zip(commands, judge(commands), strict=True) if message
    }
    assert refused == {}


def test_gcloud_refuses_what_is_misspelt(judge: Callable[[list[list[str]]], list[str | None]]) -> None:
    wrong = [
        ["compute", "instances", "create", "vm", "--shielded-vtpmm"],
        ["compute", "instances", "create", "--zone=europe-west1-b"],
        ["compute", "instances", "create", "vm", "--maintenance-policy=SOMETIMES"],
        ["compute", "instance", "create", "vm"],
        ["storage", "buckets", "create", "gs://bucket", "--soft-delete-duration=soon"],
        ["storage", "buckets", "create", "gs://bucket", "--versioning"],
        ["compute", "firewall-rules", "create", "rule", "--network=n"],
        ["compute", "networks"],
    ]
    assert None not in judge(wrong)


# What is done ---------------------------------------------------------------------------------------------------------


def test_second_run_creates_nothing(run: Run, world: Path) -> None:
    """First run creates everything and second creates nothing."""
    first = run(*PROVISION)
    assert first.returncode == 0, first.stderr
    created = recorded(world)
    assert verbs(created) == {"describe", "create", "update", "enable"}
    before = things(world)
    assert len(before) == 7
    second = run(*PROVISION)
    assert second.returncode == 0, second.stderr
    # What is written again are the values that are there.
    assert verbs(recorded(world)) == {"describe", "update", "enable"}
    assert things(world) == before


def test_dry_run_prints_a_script(run: Run, world: Path) -> None:
    """Dry run runs nothing and prints a script that does the same."""
    dry = run(*PROVISION, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert recorded(world) == []
    run("-c", dry.stdout)
    pasted = recorded(world)
    shutil.rmtree(world)
    (world / "bin").mkdir(parents=True)
    (world / "bin" / "gcloud").symlink_to(HERE / "fake_gcloud")
    run(*PROVISION)
    assert recorded(world) == pasted


def bindings(calls: list[list[str]], verb: str) -> set[tuple[str, str]]:
    """Returns the accounts and roles of the calls that grant roles on the bucket, or take them away."""
    found = [call for call in calls if f"{verb}-iam-policy-binding" in call]
    assert [call[3] for call in found] == ["gs://artifacts"] * len(found)
    return {(call[4].removeprefix("--member=serviceAccount:"), call[5].removeprefix("--role=roles/")) for call in found}


@pytest.mark.parametrize(
    ("options", "granted", "taken_away"),
    [
        ([], {"objectUser"}, set()),
        (["--overwrite", "allow"], {"objectUser"}, set()),
        (["--overwrite=refuse"], {"objectCreator", "objectViewer"}, {"objectUser"}),
    ],
)
def test_accounts_hold_their_roles_on_the_bucket(
    run: Run, world: Path, options: list[str], granted: set[str], taken_away: set[str]
) -> None:
    """And nothing else. The server's follow from whether a name can be written again."""
    done = run(*PROVISION, "--bucket", "artifacts", *options)
    assert done.returncode == 0, done.stderr
    calls = recorded(world)
    server = {(SERVER, f"storage.{role}") for role in granted}
    assert bindings(calls, "add") == server | {(GC, "storage.objectUser")}
    assert bindings(calls, "remove") == {(SERVER, f"storage.{role}") for role in taken_away}
    assert f"ARTIFACT_OVERWRITE={'refuse' if taken_away else 'allow'}" in done.stderr
    (machine,) = [call for call in calls if call[:3] == ["compute", "instances", "create"]]
    assert f"--service-account={SERVER}" in machine
    assert GC not in " ".join(machine)


def test_teardown_removes_roles_of_both_settings(run: Run, world: Path) -> None:
    """Teardown takes the roles of both settings away."""
    run(*PROVISION, "--bucket", "artifacts")
    recorded(world)
    assert run(*TEARDOWN, "--bucket", "artifacts", "--yes").returncode == 0
    held = {(SERVER, f"storage.{role}") for role in ("objectUser", "objectCreator", "objectViewer")}
    assert bindings(recorded(world), "remove") == held | {(GC, "storage.objectUser")}


def test_bucket_is_closed_and_soft_deletes(run: Run, world: Path) -> None:
    """Bucket is closed and gives deleted artifacts back."""
    run(*PROVISION)
    calls = recorded(world)
    (create,) = [call for call in calls if call[:3] == ["storage", "buckets", "create"]]
    (update,) = [call for call in calls if call[:3] == ["storage", "buckets", "update"]]
    protection = {"--uniform-bucket-level-access", "--public-access-prevention", "--soft-delete-duration=7d"}
    # From its first moment on, and again at each run.
    assert protection <= set(create)
    assert protection | {"--versioning", f"--lifecycle-file={GCP / 'lifecycle.json'}"} <= set(update)
    rules = json.loads((GCP / "lifecycle.json").read_text())["rule"]
    assert {rule["action"]["type"] for rule in rules} == {"Delete"}
    conditions = [rule["condition"] for rule in rules]
    # Nothing that is an artifact and current is ever removed.
    assert [condition for condition in conditions if "daysSinceNoncurrentTime" not in condition] == [
        {"age": 1, "matchesPrefix": ["mlflow/.preflight/"]}
    ]


def test_only_the_given_ranges_are_let_in(run: Run, world: Path) -> None:
    run(*PROVISION)
    calls = recorded(world)
    sources = {word for call in calls for word in call if word.startswith("--source-ranges")}
    assert sources == {"--source-ranges=35.235.240.0/20,203.0.113.0/24"}
    # Not the default network, where Google lets SSH in from everywhere.
    assert ["compute", "networks", "create", "mlflow", "--subnet-mode=custom"] in calls
    (machine,) = [call for call in calls if call[:3] == ["compute", "instances", "create"]]
    assert "--subnet=mlflow" in machine


def test_https_opens_to_the_named_sources(run: Run, world: Path) -> None:
    """HTTPS is open to whom it is said and has an address that stays."""
    done = run(*PROVISION, "--https", "all")
    assert done.returncode == 0, done.stderr
    calls = recorded(world)
    (rule,) = [call for call in calls if call[:4] == ["compute", "firewall-rules", "create", "mlflow-https"]]
    assert {"--rules=tcp:80,tcp:443", "--source-ranges=0.0.0.0/0"} <= set(rule)
    (ssh,) = [call for call in calls if call[:4] == ["compute", "firewall-rules", "create", "mlflow-ssh"]]
    assert {"--rules=tcp:22", "--source-ranges=35.235.240.0/20,203.0.113.0/24"} <= set(ssh)
    assert ["compute", "addresses", "create", "mlflow", "--region=europe-west1"] in calls
    (machine,) = [call for call in calls if call[:3] == ["compute", "instances", "create"]]
    assert "--address=mlflow" in machine
    # Twice is once, with the ranges of the second time.
    assert run(*PROVISION, "--https", "198.51.100.0/24").returncode == 0
    calls = recorded(world)
    assert "create" not in verbs(calls)
    assert [call for call in calls if "mlflow-https" in call and "--source-ranges=198.51.100.0/24" in call]
    assert run(*TEARDOWN, "--yes", "--delete-artifacts").returncode == 0
    assert things(world) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--project", "my-project"], "say who may reach the VM"),
        (["--project", "my-project", "--ranges", "0.0.0.0/0"], "nearly everyone"),
        (["--project", "my-project", "--ranges", "iap,128.0.0.0/1"], "nearly everyone"),
        (["--project", "my-project", "--ranges", "203.0.113.7"], "nearly everyone|ends in /32"),
        (["--project", "my-project", "--ranges", "203.0.113.7/24"], "is no IPv4 range"),
        (["--project", "my-project", "--ranges", "::/0"], "is no IPv4 range"),
        (["--project", "my-project", "--ranges", "iap", "--https", "everyone"], "--https: .* is no IPv4 range"),
        (["--ranges", "iap"], "name the Google Cloud project"),
        (["--project", "My Project", "--ranges", "iap"], "a project's ID"),
        (["--project", "my-project", "--ranges", "iap", "--zone", "europe"], "takes a zone"),
        (["--project", "my-project", "--ranges", "iap", "--bucket", "gs://b"], "name only"),
        (["--project", "my-project", "--ranges", "iap", "--disk-size", "big"], "a size in GB"),
        (["--project", "my-project", "--ranges", "iap", "--machine-type", "t2a-standard-1"], "is arm64"),
        (["--project", "my-project", "--ranges", "iap", "--lifecycle", "none.json"], "no JSON file"),
        (["--project", "my-project", "--ranges", "iap", "--overwrite", "yes"], "takes allow or refuse"),
        (["--project", "my-project", "--range", "iap"], "no such option"),
        (["--project"], "value is missing"),
    ],
)
def test_wrong_setting_is_one_line_and_does_nothing(run: Run, world: Path, args: list[str], message: str) -> None:
    done = run("provision", *args)
    assert done.returncode == 1
    assert re.fullmatch(rf"provision: error: .*({message}).*\n", done.stderr)
    assert recorded(world) == []


def test_new_account_is_waited_for(run: Run, world: Path) -> None:
    """New account that is not known yet is waited for."""
    (world / "refuse").write_text("2\n")
    done = run(*PROVISION)
    assert done.returncode == 0, done.stderr
    assert "ERROR: Service account" not in done.stderr


def test_refusal_ends_it_with_gclouds_own_message(run: Run, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_PATIENCE", "0")
    (world / "refuse").write_text("1000\n")
    done = run(*PROVISION)
    assert done.returncode != 0
    assert "ERROR: Service account does not exist" in done.stderr
    calls = recorded(world)
    assert any("add-iam-policy-binding" in call for call in calls)
    assert not [call for call in calls if call[0] == "compute"]


# What is removed ------------------------------------------------------------------------------------------------------


def test_teardown_keeps_the_bucket_unless_told(run: Run, world: Path) -> None:
    run(*PROVISION)
    done = run(*TEARDOWN, "--yes")
    assert done.returncode == 0, done.stderr
    assert things(world) == ["storage_buckets_gs:__my-project-mlflow"]
    assert "stay" in done.stderr
    assert run(*TEARDOWN, "--yes", "--delete-artifacts").returncode == 0
    assert things(world) == []
    # And once more, with nothing there.
    assert run(*TEARDOWN, "--yes", "--delete-artifacts").returncode == 0


def test_teardown_asks_before_each_step(run: Run, world: Path) -> None:
    """Teardown asks before each step and a no ends it."""
    run(*PROVISION)
    before = things(world)
    recorded(world)
    for answers in ("", "n\n", "yess\n"):
        done = run(*TEARDOWN, answers=answers)
        assert done.returncode == 1
        assert "with its disk, and on it the database" in done.stderr
        assert verbs(recorded(world)) == {"describe"}
        assert things(world) == before
    done = run(*TEARDOWN, "--delete-artifacts", answers="y\n" * 6 + "n\n")
    assert done.returncode == 1
    assert things(world) == ["storage_buckets_gs:__my-project-mlflow"]


def test_teardown_dry_run_removes_nothing(run: Run, world: Path) -> None:
    run(*PROVISION)
    before = things(world)
    recorded(world)
    done = run(*TEARDOWN, "--dry-run", "--delete-artifacts")
    assert done.returncode == 0, done.stderr
    assert recorded(world) == []
    run("-c", done.stdout)
    assert before
    assert things(world) == []
