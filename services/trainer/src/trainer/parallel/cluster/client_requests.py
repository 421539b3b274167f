"""What a client asks the scheduler beside Dask's own requests; ``scheduling`` answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from distributed import Client
from distributed.protocol.serialize import to_serialize

from trainer.parallel.cluster.credentials import ClusterError
from trainer.parallel.cluster.parcels import Parcel
from trainer.parallel.cluster.scheduling import PART
from trainer.util.text import one_line

#: So many parts of a parcel are on their way at once.
_AT_ONCE = 2


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
        return self._sync(getattr(self._client.scheduler, what), **arguments)

    def _sync(self, request: Any, **arguments: Any) -> Any:
        try:
            return self._client.sync(request, **arguments)
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

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Send parcels to the scheduler, unless they are there.

        Args:
            parcels: Whose content does not change until this returns.

        Raises:
            ClusterError: One is larger than what the scheduler keeps, or the scheduler is gone.
        """
        reply = self.ask("trainer_need", client=self._client.id, digests=[parcel.digest for parcel in parcels])
        if (largest := max(parcel.size for parcel in parcels)) > reply["room"]:
            raise ClusterError(
                f"{self._address}: a table of {largest >> 20:,} MiB is larger than what the scheduler keeps,"
                f" {reply['room'] >> 20:,} MiB (SCHEDULER_TABLES, in bytes)"
            )
        for parcel in parcels:
            if parcel.digest in reply["missing"]:
                self._sync(self._put, digest=parcel.digest, size=parcel.size, parts=parcel.parts(PART))

    async def _put(self, digest: str, size: int, parts: Iterable[bytes | memoryview]) -> None:
        """Send the parts of a parcel, some at once: the scheduler need not wait for the next one."""
        scheduler: Any = self._client.scheduler
        numbered = zip(count(), parts)

        async def send() -> None:
            for number, part in numbered:
                # As a frame of its own: Dask would copy what is within the message.
                frame = to_serialize(memoryview(part))
                await scheduler.trainer_put(client=self._client.id, digest=digest, size=size, number=number, part=frame)

        await asyncio.gather(*(send() for _ in range(_AT_ONCE)))
