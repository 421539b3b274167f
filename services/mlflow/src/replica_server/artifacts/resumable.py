"""Uploads to Cloud Storage that go on wherever the storage says it has come to.

It may keep a part of a piece only. Google's client then fails at the next one: it takes its stream to be where it left
it. (A piece whose answer was lost it sends again; the storage ignores what it has.)
"""

import http.client
import time
from typing import TYPE_CHECKING, Any

from replica_server.artifacts import storage_errors

if TYPE_CHECKING:
    from google.cloud.storage import Blob

# How many pieces in a row may be sent for nothing.
IN_VAIN = 3
# An upload that has begun is gone: Google says to begin it anew
# (https://docs.cloud.google.com/storage/docs/resumable-uploads).
LOST = (http.client.NOT_FOUND, http.client.GONE)


def upload(
    blob: "Blob", source: Any, content_type: str | None, timeout: float, if_generation_match: int | None = None
) -> None:
    """Stores what a stream holds, whose size is not known yet, in pieces of the blob's `chunk_size`.

    Args:
        blob: Where to.
        source: Like a file; `seek` has to reach what the last `read` returned, and nothing before.
        content_type: The object's; None: by its name.
        timeout: Seconds for a piece.
        if_generation_match: The generation that has to be there; 0: none. None: whatever is there is replaced.

    Raises:
        GoogleAPICallError: The storage refuses it.
        MlflowException: The storage keeps nothing of what is sent, or has lost what it had: another try may succeed.
        RetryError: The storage does not answer for two minutes.
    """
    from google.api_core.exceptions import from_http_response
    from google.cloud.storage.exceptions import InvalidResponse
    from google.cloud.storage.retry import DEFAULT_RETRY

    session = None
    try:
        session, transport = blob._initiate_resumable_upload(
            None,
            source,
            content_type,
            None,
            timeout=timeout,
            retry=DEFAULT_RETRY,
            if_generation_match=if_generation_match,
        )
        in_vain = 0
        while not session.finished:
            before = session.bytes_uploaded
            _send_piece(session, transport, timeout)
            if session.finished:
                return
            in_vain = 0 if session.bytes_uploaded > before else in_vain + 1
            if in_vain == IN_VAIN:
                raise storage_errors.unavailable(
                    f"The storage keeps nothing of gs://{blob.bucket.name}/{blob.name} after byte {before}"
                )
            time.sleep(in_vain)
            source.seek(session.bytes_uploaded)
    except InvalidResponse as error:
        if session is not None and error.response.status_code in LOST:
            said = f"The storage has lost the upload to gs://{blob.bucket.name}/{blob.name} that it had begun"
            raise storage_errors.unavailable(said) from error
        raise from_http_response(error.response) from error  # type: ignore[no-untyped-call]


def _send_piece(session: Any, transport: Any, timeout: float) -> None:
    from google.cloud.storage.exceptions import InvalidResponse

    try:
        session.transmit_next_chunk(transport, timeout=timeout)
    except InvalidResponse as error:
        # An answer without a range: nothing at all has been kept so far.
        if error.response.status_code != http.client.PERMANENT_REDIRECT:
            raise
        session.recover(transport)
