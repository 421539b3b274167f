"""services/secrets/generate: the stack's secrets on the first start."""

import configparser
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

pytestmark = pytest.mark.process

GENERATE = Path(__file__).parents[3] / "services/secrets/generate"
FILES = (
    "postgres/password",
    "minio/root-user",
    "minio/root-password",
    "bucket/credentials",
    "gc/credentials",
    "monitor/password",
    "mlflow/webhook-key",
    "mlflow/gateway-passphrase",
    "mlflow/flask-key",
    "people/proof",
    "people/console",
    "serving/token",
    "housekeeping/token",
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for volume in ("postgres", "minio", "bucket", "gc", "mlflow", "people", "serving", "housekeeping", "monitor"):
        (tmp_path / "out" / volume).mkdir(parents=True)
    (tmp_path / "provided").mkdir()
    return tmp_path / "out"


def generate(out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([GENERATE, out, out.parent / "provided"], capture_output=True, text=True)


def contents(out: Path) -> dict[str, str]:
    return {file: (out / file).read_text() for file in FILES}


def test_first_start_prints_no_secret(out: Path) -> None:
    """First start generates strong secrets and prints none."""
    done = generate(out)
    assert done.returncode == 0, done.stderr
    password = (out / "postgres/password").read_text().strip()
    assert len(password) >= 32
    assert password.isalnum()
    values = [password]
    for volume in ("bucket", "gc"):
        credentials = configparser.ConfigParser()
        credentials.read(out / volume / "credentials")
        assert len(credentials["default"]["aws_secret_access_key"]) >= 32
        assert len(credentials["default"]["aws_access_key_id"]) <= 20  # MinIO allows no longer one
        values.append(credentials["default"]["aws_secret_access_key"])
    keys = [(out / "mlflow" / name).read_text().strip() for name in ("webhook-key", "gateway-passphrase", "flask-key")]
    Fernet(keys[0])
    assert min(map(len, keys)) >= 32
    people = [(out / name).read_text().strip() for name in FILES[-4:]]
    assert min(map(len, people)) >= 38
    assert all(re.fullmatch("mlr_[A-Za-z0-9_-]{43}", token) for token in people[2:])
    values += keys + people
    assert len(set(values)) == 10
    assert [value for value in values if value in done.stdout + done.stderr] == []


def generate_with_login(out: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    (out / "admin").mkdir(exist_ok=True)
    environment = os.environ | {"AUTH": "on"} | settings
    return subprocess.run([GENERATE, out, out.parent / "provided"], capture_output=True, text=True, env=environment)


def test_first_administrator_has_a_password(out: Path) -> None:
    """With AUTH=on, once: the same at the next start, and none any more when it was shown."""
    done = generate_with_login(out)
    file = out / "admin/password"
    password = file.read_text().strip()
    assert len(password) >= 32
    assert password.isalnum()
    assert password not in done.stdout + done.stderr
    assert generate_with_login(out).stdout == ""
    assert file.read_text().strip() == password
    file.unlink()
    (out / "admin/closed").touch()
    assert generate_with_login(out).stdout == ""
    assert not file.exists()


@pytest.mark.parametrize("settings", [{"AUTH": "off"}, {"SSO": "on"}], ids=["no login", "single sign-on"])
def test_no_administrator_is_made_up(out: Path, settings: dict[str, str]) -> None:
    """Without logins there is none, and with single sign-on the provider's groups make them."""
    (out / "sso").mkdir()
    (out.parent / "provided/sso-client-secret").write_text("the provider's")
    assert generate_with_login(out, **settings).returncode == 0
    assert not list((out / "admin").iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("too short\n", "admin-password is shorter than 12 characters"),
        ("correct horse\tbattery\n", "admin-password is no password of 12 to 72 characters"),
        ("x" * 73, "admin-password is no password of 12 to 72 characters"),
    ],
)
def test_own_first_password_is_checked(out: Path, content: str, message: str) -> None:
    (out.parent / "provided/admin-password").write_text(content)
    done = generate_with_login(out)
    assert (done.returncode, done.stderr) == (1, f"secrets: error: {message}\n")
    (out.parent / "provided/admin-password").write_text("correct horse battery\n")
    assert generate_with_login(out).returncode == 0
    assert (out / "admin/password").read_text() == "correct horse battery\n"


def test_single_sign_on_needs_the_clients_secret(out: Path) -> None:
    """Nobody but the provider can make it up; the key of the sessions is generated."""
    (out / "sso").mkdir()
    command = [GENERATE, out, out.parent / "provided"]
    environment = os.environ | {"SSO": "on"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("secrets: error: sso-client-secret is missing")
    (out.parent / "provided/sso-client-secret").write_text("from the provider\n")
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (out / "sso/client-secret").read_text() == "from the provider\n"
    assert re.fullmatch("[A-Za-z0-9]{32}\n", (out / "sso/cookie").read_text())


def test_second_start_changes_nothing(out: Path) -> None:
    generate(out)
    before = contents(out)
    assert generate(out).stdout == ""
    assert contents(out) == before


def test_two_stacks_share_no_secret(out: Path, tmp_path: Path) -> None:
    generate(out)
    first = contents(out)
    for file in FILES:
        (out / file).unlink()
    generate(out)
    assert all(contents(out)[file] != first[file] for file in FILES)


def test_provided_file_wins(out: Path) -> None:
    """Provided file wins and a changed one is taken."""
    provided = out.parent / "provided" / "postgres-password"
    for password in ("mine: \\ 'quoted'", "another"):
        provided.write_text(password)
        assert "postgres-password: yours" in generate(out).stdout
        assert (out / "postgres/password").read_text() == password
    assert stat.S_IMODE((out / "postgres/password").stat().st_mode) == 0o444


def test_empty_provided_file_is_refused_in_one_line(out: Path) -> None:
    (out.parent / "provided" / "minio-root-password").touch()
    done = generate(out)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["secrets: error: minio-root-password is empty"]
    assert not (out / "minio/root-password").exists()


@pytest.mark.parametrize(
    ("name", "content"), [("root-password", "1234567\n"), ("root-user", "ab"), ("root-user", "\n")]
)
def test_provided_file_minio_refuses_is_refused(out: Path, name: str, content: str) -> None:
    """Provided file that MinIO would refuse changes nothing."""
    generate(out)
    before = contents(out)
    (out.parent / "provided" / f"minio-{name}").write_text(content)
    done = generate(out)
    assert done.returncode == 1
    shortest = {"root-user": 3, "root-password": 8}[name]
    assert done.stderr.splitlines() == [f"secrets: error: minio-{name} is shorter than {shortest} characters"]
    assert contents(out) == before


@pytest.mark.parametrize("content", ["my own\n", "A" * 44, "A" * 43 + "=\nmore\n", "+" * 43 + "="])
def test_provided_webhook_key_is_a_fernet_key(out: Path, content: str) -> None:
    generate(out)
    before = contents(out)
    provided = out.parent / "provided" / "mlflow-webhook-key"
    provided.write_text(content)
    done = generate(out)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("secrets: error: mlflow-webhook-key is no Fernet key")
    assert content.strip() not in line
    assert contents(out) == before
    # What the message says makes one.
    command = line.partition(": head")[2].removesuffix(")")
    provided.write_text(subprocess.run(["bash", "-c", f"head{command}"], capture_output=True, text=True).stdout)
    assert "mlflow-webhook-key: yours" in generate(out).stdout
    Fernet((out / "mlflow/webhook-key").read_text().strip())


def test_shortest_provided_password_is_taken(out: Path) -> None:
    (out.parent / "provided" / "minio-root-password").write_text("12345678\n")
    assert generate(out).returncode == 0
    assert (out / "minio/root-password").read_text() == "12345678\n"


def test_unreadable_provided_folder_is_a_warning() -> None:
    """Provided folder that cannot be read is warned about."""
    # Root reads everything, so as another user then, in a folder that such a one can enter.
    folder = Path(tempfile.mkdtemp())
    try:
        volumes = ("postgres", "minio", "bucket", "gc", "mlflow", "people", "serving", "housekeeping", "monitor")
        for name in (*(f"out/{volume}" for volume in volumes), "provided"):
            (folder / name).mkdir(parents=True)
        (folder / "provided/postgres-password").write_text("mine")
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o777)
        (folder / "provided").chmod(0)
        done = subprocess.run(
            ["bash", "-s", folder / "out", folder / "provided"],
            input=GENERATE.read_text(),
            user=65534 if os.geteuid() == 0 else None,
            capture_output=True,
            text=True,
        )
        (folder / "provided").chmod(0o700)
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "secrets: warning: the folder of your secrets cannot be read, so none of yours is used: open it (chmod a+rx)"
    ]
