"""The clean process: it measures a good model, and none that hangs, hoards, dies or lies gets anywhere."""

from __future__ import annotations

import json
import os
import textwrap
import time
from pathlib import Path

import pytest
from trainer.promotion import sandbox
from trainer.promotion.policy import PromotionPolicy
from trainer.promotion.sandbox import Sandbox, SandboxResult

pytestmark = pytest.mark.process


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, policy: PromotionPolicy) -> SandboxResult:
    """Return what came of a process that does this instead of loading a model."""
    path = tmp_path / "script.py"
    path.write_text("import json, os, signal, sys, time\nfolder = sys.argv[4]\n" + textwrap.dedent(script))
    monkeypatch.setattr(sandbox, "SCRIPT", path)
    return Sandbox(tmp_path, tmp_path / "probe", policy, table=None, latency=False).result()


@pytest.mark.parametrize(("last", "says"), [("time.sleep(600)", "took more than 3 s"), ("", "its process ended with")])
def test_what_the_process_started_ends_with_it(
    last: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"""
        import subprocess
        child = subprocess.Popen(["sleep", "600"])
        open(folder + "/child", "w").write(str(child.pid))
        {last}
    """
    started = time.monotonic()
    outcome = run(tmp_path, monkeypatch, script, PromotionPolicy(seconds=3))
    assert (outcome.error or "").startswith(says)
    assert time.monotonic() - started < 60
    child = int((tmp_path / "probe" / "child").read_text())
    deadline = time.monotonic() + 20
    while runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Tell whether a process is there, and no zombie that nobody has waited for."""
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_process_that_hoards_memory_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
        hoard = []
        while len(hoard) < 400:
            hoard.append(bytearray(os.urandom(1 << 20)))
            time.sleep(0.01)
        time.sleep(600)
    """
    outcome = run(tmp_path, monkeypatch, script, PromotionPolicy(memory_mib=100, seconds=120))
    assert outcome.error == "used more than 100 MiB of memory"
    assert outcome.peak_mib is not None
    assert 100 < outcome.peak_mib < 300


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its process ended with signal SIGSEGV"),
        ("print('no room'); sys.exit(7)", "its process ended with exit code 7: no room"),
        ("pass", "its process ended with exit code 0"),
        ("open(folder + '/result.json', 'w').write('[')", "its process ended with exit code 0"),
        ("open(folder + '/result.json', 'w').write('{}'); sys.exit(3)", "its process ended with exit code 3"),
    ],
)
def test_process_that_dies_is_told_from_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    assert run(tmp_path, monkeypatch, script, PromotionPolicy()).error == message


def test_process_knows_no_address_and_no_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    run(
        tmp_path,
        monkeypatch,
        "open(folder + '/environment', 'w').write(json.dumps(dict(os.environ)))",
        PromotionPolicy(),
    )
    environment = (tmp_path / "probe" / "environment").read_text()
    assert "secret" not in environment
    assert json.loads(environment)["OMP_NUM_THREADS"] == "1"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "secret"


def test_other_than_two_classes_have_no_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probabilities of other than two classes are none."""
    script = """
    import numpy
    numpy.save(folder + '/probability.npy', numpy.ones((4, 3)) / 3)
    open(folder + '/result.json', 'w').write('{}')
    """
    outcome = run(tmp_path, monkeypatch, script, PromotionPolicy())
    assert (outcome.error, outcome.probability) == (None, None)


def test_process_can_be_ended_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "script.py"
    path.write_text("import time; time.sleep(600)")
    monkeypatch.setattr(sandbox, "SCRIPT", path)
    one = Sandbox(tmp_path, tmp_path / "probe", PromotionPolicy(seconds=500), table=None, latency=False)
    one.end()
    assert one.result().error == "stopped"


def test_folder_without_a_model_does_not_load(tmp_path: Path) -> None:
    outcome = Sandbox(tmp_path, tmp_path / "probe", PromotionPolicy(), table=None, latency=True).result()
    assert outcome.error is not None
    assert outcome.error.startswith("cannot load: ")
    assert outcome.seconds is None
