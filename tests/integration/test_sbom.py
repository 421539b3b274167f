"""The bill of materials of an image has what it was built of: locked Python packages, Go modules, Debian packages."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from .stack import ROOT, base_environment

# About images, whatever is started of them: once is enough.
pytestmark = pytest.mark.minio


def addresses(service: str) -> set[str]:
    """Returns the address of each part in the bill of a service's image."""
    environment = base_environment()
    image = f"{environment.get('IMAGE_PREFIX', 'mlflow-replica')}-{service}:{environment['IMAGE_TAG']}"
    done = subprocess.run([ROOT / "scripts/sbom", image], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {one["purl"] for one in json.loads(done.stdout)["components"]}


def test_bill_has_every_locked_python_package(images: None) -> None:
    lock = (ROOT / "services/bucket/requirements.lock").read_text()
    locked = {
        f"pkg:pypi/{name}@{version}" for name, version in re.findall(r"^([\w-]+)==([\w.]+) \\$", lock, re.MULTILINE)
    }
    found = addresses("bucket")
    assert len(locked) > 5
    assert locked - found == set()
    assert any(address.startswith("pkg:deb/debian/python3@3.") for address in found)


def test_bill_has_the_modules_of_minio(images: None) -> None:
    found = addresses("minio")
    assert any(address.startswith("pkg:golang/github.com/minio/minio-go/v7@v7.") for address in found)
    (toolchain,) = re.findall(r"GOTOOLCHAIN=go(\S+)", (ROOT / "services/minio/Dockerfile").read_text())
    assert f"pkg:golang/stdlib@{toolchain}" in found


def test_bill_has_oauth2_proxy(images: None) -> None:
    """The image of single sign-on, which is among a release's as well."""
    (wanted,) = re.findall(r"oauth2-proxy/v7 (v\S+)", (ROOT / "services/sso/go.mod").read_text())
    assert f"pkg:golang/github.com/oauth2-proxy/oauth2-proxy/v7@{wanted}" in addresses("sso")


@pytest.mark.parametrize(
    ("service", "package"),
    [("postgres", "postgresql-17"), ("postgres", "postgresql-client-17"), ("mlflow", "postgresql-client-17")],
)
def test_bill_has_what_is_only_unpacked(images: None, service: str, package: str) -> None:
    """Packages whose files are taken without installing them: a scan for weaknesses would miss them otherwise."""
    assert any(address.startswith(f"pkg:deb/debian/{package}@17.") for address in addresses(service))


def test_image_that_is_not_there_is_one_line(images: None) -> None:
    command = [str(ROOT / "scripts/sbom"), "replica-test-no-such-image:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("sbom: error: ")
    assert "Traceback" not in done.stderr
