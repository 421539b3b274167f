"""Why Cloud Storage refuses a request, in its own words, and what to do where no role helps."""

import re
from typing import TYPE_CHECKING

from replica_server.text import one_line

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError

# What an upload lacks where there is an object of that name already.
OVERWRITE = "storage.objects.delete"
# What Google's words are known by.
REMEDIES = {
    r"\bbilling\b": "enable billing for the bucket's project",
    r"\bscopes?\b": "stop the VM and give it the access scope of the whole platform: "
    "gcloud compute instances set-service-account --scopes=cloud-platform",
    r"organi[sz]ation|constraints?/|vpc ?service ?controls": "who administers the Google organisation has to allow it",
}


def reason(error: "GoogleAPICallError") -> str:
    """Returns what the service has said, and the remedy if it is one of those above."""
    said = error.message
    if error.response is not None:
        try:
            said = error.response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = error.response.text or said
    said = one_line(str(said))
    # A message that names a permission is about a role; an account or a bucket in it may be called like one of these.
    if not re.search(r"\bstorage\.(objects|buckets)\.", said):
        for words, remedy in REMEDIES.items():
            if re.search(words, said, re.IGNORECASE):
                return f"{said} ({remedy})"
    return said
