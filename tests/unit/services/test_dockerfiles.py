"""The images are the same whatever the umask under which the repository was cloned, and built by one version of uv."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_copied_files_get_a_mode_of_their_own() -> None:
    """Files that images take over get a mode of their own."""
    # Under a umask of 077 git writes files for their owner only, and the images run as others.
    copied = []
    for dockerfile in (ROOT / "services").glob("*/Dockerfile"):
        image = re.split(r"^FROM ", dockerfile.read_text(), flags=re.MULTILINE)[-1]
        copied += re.findall(r"^COPY (?!--from=).*", image, flags=re.MULTILINE)
    assert len(copied) >= 6
    assert [line for line in copied if not line.startswith(("COPY --chmod=755 ", "COPY --chmod=644 "))] == []


def test_images_and_tools_use_the_same_uv() -> None:
    """Images and tools are installed by the same uv."""
    places = [*ROOT.glob("*/*/Dockerfile"), ROOT / "pyproject.toml", ROOT / "requirements-dev.lock"]
    versions = {str(place.relative_to(ROOT)): re.findall(r"\buv==([\d.]+)", place.read_text()) for place in places}
    named = {place: version for place, version in versions.items() if version}
    assert len(named) >= 7
    assert set(map(tuple, named.values())) == {(named["pyproject.toml"][0],)}, named
