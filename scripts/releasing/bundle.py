"""Images, compose file and documents in one archive, which scripts/bundle writes and scripts/up --bundle takes."""

# macOS's own Python is 3.9.
from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

from releasing.compose_file import release_compose, release_sso
from releasing.docker_engine import BUNDLED, bundled, docker, has, needed_images, version_of
from releasing.release_files import BLOCK, SUMS, copy_documents, sha256, write_sums
from releasing.version_facts import SSO, STACK, Refusal, version

FACTS, IMAGES = "bundle.json", "images.tar"
READ_ME = """
This is the offline bundle, with the images: `scripts/up --bundle FILE` of a clone takes it. Without a clone:

    docker load --input images.tar
    docker compose up --detach --wait
"""


# Writing --------------------------------------------------------------------------------------------------------------


def save_images(file: Path, profiles: list[str]) -> dict[str, object]:
    """Writes the images of the stack and of further profiles into a file; returns what the bundle says of them."""
    before: dict[str, str] = {}
    names, platforms = [], set()
    try:
        for one in needed_images(*profiles):
            if not has(one.local):
                raise Refusal(f"{one.local} is not here: scripts/up builds or pulls it")
            if (found := version_of(one.local)) != version():
                raise Refusal(f"{one.local} is of version {found}, and these files are {version()}: scripts/up")
            platforms.add(docker("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", one.local))
            name = bundled(one)
            before[name] = docker("image", "inspect", "--format", "{{.Id}}", name) if has(name) else ""
            docker("tag", one.local, name)
            names.append(one.name)
        docker("save", "--output", str(file), *before, seconds=1800)
    finally:
        # The names are the bundle's alone, unless this machine has loaded one.
        for name, former in before.items():
            docker(*(("tag", former, name) if former else ("image", "rm", "--no-prune", name)))
    return {"version": version(), "platform": "+".join(sorted(platforms)), "images": names}


def write(file: Path, profiles: list[str]) -> None:
    """Writes the archive; nothing is left of one that could not be written."""
    if file.exists():
        raise Refusal(f"{file} is there already: name another")
    if not file.parent.is_dir():
        raise Refusal(f"there is no folder {file.parent}")
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".bundle-") as work:
        folder, new = Path(work) / f"mlflow-replica-{version()}", Path(work) / "new"
        folder.mkdir()
        (folder / STACK).write_text(release_compose(BUNDLED, pull_policy="never"))
        (folder / SSO).write_text(release_sso(BUNDLED, pull_policy="never"))
        copy_documents(folder)
        with (folder / "README.md").open("a") as page:
            page.write(READ_ME)
        facts = save_images(folder / IMAGES, profiles)
        (folder / FACTS).write_text(json.dumps(facts, indent=1))
        write_sums(folder)
        # What the others are compared with comes first, and the images last: an archive is read from its beginning.
        order = [SUMS, FACTS, *sorted(path.name for path in folder.iterdir() if path.name not in {SUMS, FACTS, IMAGES})]
        zipped = file.name.endswith("gz")
        archive = tarfile.open(new, "w:gz", compresslevel=1) if zipped else tarfile.open(new, "w")  # noqa: SIM115
        with archive:
            for name in [*order, IMAGES]:
                archive.add(folder / name, f"{folder.name}/{name}")
        new.replace(file)


# Loading --------------------------------------------------------------------------------------------------------------


def check(file: Path) -> dict[str, object]:
    """Reads the whole archive; returns what it says of itself, or raises Refusal where it is not what was written."""
    sums: dict[str, str] = {}
    facts: dict[str, object] = {}
    with tarfile.open(file) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            stream = archive.extractfile(member)
            if not stream:
                continue
            if name == SUMS:
                sums = {
                    path: digest for digest, path in (line.split("  ") for line in stream.read().decode().splitlines())
                }
            elif sums.pop(name, None) != sha256(stream):
                raise Refusal(f"{file}: {name} is not what was written")
            elif name == FACTS:
                stream.seek(0)
                facts = json.load(stream)
    if sums or not facts:
        raise Refusal(f"{file} is no bundle, or not whole" + (f": {min(sums)} is missing" if sums else ""))
    return facts


def load(file: Path) -> None:
    """Loads the images of an archive, and gives them the names that Compose looks for here; first it is read whole."""
    facts = check(file)
    if facts["version"] != version():
        raise Refusal(
            f"{file} is of version {facts['version']}, and these files are {version()}: bring its version's here"
        )
    platform = docker("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
    if facts["platform"] != platform:
        raise Refusal(f"{file} is for {facts['platform']}, and Docker here is {platform}")
    wanted = needed_images()
    if missing := [one.name for one in wanted if one.name not in facts["images"]]:  # type: ignore[operator]
        raise Refusal(f"{file} has no image {missing[0]}, which the profile that is set here needs")
    with (
        tarfile.open(file) as archive,
        subprocess.Popen(["docker", "load", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as loading,
    ):
        stream = archive.extractfile(f"mlflow-replica-{version()}/{IMAGES}")
        assert stream  # noqa: S101 - for the types
        assert loading.stdin  # noqa: S101 - for the types
        try:
            shutil.copyfileobj(stream, loading.stdin, BLOCK)
        except BrokenPipeError:
            pass  # Its own line says why.
        finally:
            loading.stdin.close()
    if loading.returncode:
        raise Refusal(f"docker load has not taken the images of {file}")
    for one in wanted:
        docker("tag", bundled(one), one.local)
    print(f"==> loaded version {version()} from {file}", file=sys.stderr)


def main() -> None:
    """Writes a bundle, or loads one."""
    parser = argparse.ArgumentParser(prog="bundle", add_help=False)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--profile", action="append", default=[])
    parser.add_argument("--load", action="store_true")
    options = parser.parse_args()
    try:
        if options.load:
            if not options.file:
                raise Refusal("--load takes the file of a bundle")
            load(options.file)
            return
        file = options.file or Path(f"mlflow-replica-{version()}.tar.gz")
        write(file, options.profile)
        print(f"{file}: {file.stat().st_size >> 20} MiB", file=sys.stderr)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, KeyError) as error:
        # tarfile lists in further lines what else it tried.
        why = (str(error).splitlines() or ["it ends early"])[0].rstrip(":")
        sys.exit(f"bundle: error: {options.file} is no bundle, or not whole: {why}")
    except (Refusal, OSError) as error:
        sys.exit(f"bundle: error: {error}")
    except KeyboardInterrupt:
        sys.exit("bundle: error: interrupted")


if __name__ == "__main__":
    main()
