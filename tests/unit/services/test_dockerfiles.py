"""The images are the same whatever the umask was under which the repository was cloned."""

import re
from pathlib import Path

SERVICES = Path(__file__).parents[3] / "services"


def test_files_that_images_take_over_get_a_mode_of_their_own() -> None:
    # Under a umask of 077 git writes files for their owner only, and the images run as others.
    copied = []
    for dockerfile in SERVICES.glob("*/Dockerfile"):
        image = re.split(r"^FROM ", dockerfile.read_text(), flags=re.MULTILINE)[-1]
        copied += re.findall(r"^COPY (?!--from=).*", image, flags=re.MULTILINE)
    assert len(copied) >= 6
    assert [line for line in copied if not line.startswith("COPY --chmod=755 ")] == []
