"""What a client asks the scheduler beside Dask's own requests; ``scheduling`` answers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from distributed import Client
from distributed.protocol.serialize import to_serialize

from trainer.parallel.cluster.credentials import ClusterError
from trainer.parallel.cluster.scheduling import PART
from trainer.util.text import one_line


class Requests:
    """The requests of one client.

    Args:
        client: Dask's client.
        address: The scheduler's address, for errors.
    """

    def __init__(self, client: Client, address: str) -> None:
        self._client, self._address = client, address

    def ask(self, what: str, **arguments: Any) -> Any:
        """Send the scheduler a request and return its reply."""
        try:
            return self._client.sync(getattr(self._client.scheduler, what), **arguments)
        except (OSError, TimeoutError) as error:
            raise ClusterError(
                f"{self._address}: the scheduler is gone; the same command goes on where this one was"
            ) from error
        except (AttributeError, ValueError, TypeError) as error:
            raise ClusterError(f"{self._address}: is no scheduler of this trainer: {one_line(error)}") from error

    def room(self) -> int:
        """Return how many bytes of parcels the scheduler keeps."""
        return int(self.ask("trainer_need", client=self._client.id, digests=[])["room"])

    def take_turn(self) -> bool:
        """Have all workers for one fit; False where another client has them."""
        return bool(self.ask("trainer_turn", client=self._client.id))

    def end_turn(self) -> None:
        """Leave the workers to others, if the scheduler is still there."""
        with suppress(ClusterError):
            self.ask("trainer_turn_over", client=self._client.id)

    def send(self, parcels: Mapping[str, bytes]) -> None:
        """Send parcels to the scheduler, unless they are there.

        Args:
            parcels: Their contents by their digests.

        Raises:
            ClusterError: One is larger than what the scheduler keeps, or the scheduler is gone.
        """
        reply = self.ask("trainer_need", client=self._client.id, digests=list(parcels))
        if (largest := max(map(len, parcels.values()))) > reply["room"]:
            raise ClusterError(
                f"{self._address}: a table of {largest >> 20:,} MiB is larger than what the scheduler keeps,"
                f" {reply['room'] >> 20:,} MiB (SCHEDULER_TABLES, in bytes)"
            )
        for missing in reply["missing"]:
            content = memoryview(parcels[missing])
            for offset in range(0, len(content), PART):
                # As a frame of its own: Dask would copy what is within the message.
                part = to_serialize(content[offset : offset + PART])
                last = offset + PART >= len(content)
                arguments = {"client": self._client.id, "digest": missing, "first": offset == 0, "last": last}
                self.ask("trainer_put", part=part, **arguments)
