"""What a client asks the scheduler beside Dask's own requests; ``scheduling`` answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
        check_room(max(parcel.size for parcel in parcels), reply["room"], self._address)
        for parcel in parcels:
            if parcel.digest in reply["missing"]:
                self._sync(put_parcel, scheduler=self._client.scheduler, client=self._client.id, parcel=parcel)


async def put_parcel(scheduler: Any, client: str, parcel: Parcel) -> None:
    """Send the parts of a parcel, some at once: the scheduler need not wait for the next one.

    Args:
        scheduler: The connection to the scheduler, a client's or a worker's.
        client: The client that it is kept for.
        parcel: Whose content does not change until this returns.
    """
    numbered = zip(count(), parcel.parts(PART))

    async def send() -> None:
        for number, part in numbered:
            # As a frame of its own: Dask would copy what is within the message.
            frame = to_serialize(memoryview(part))
            await scheduler.trainer_put(
                client=client, digest=parcel.digest, size=parcel.size, number=number, part=frame
            )

    await asyncio.gather(*(send() for _ in range(_AT_ONCE)))


def check_room(size: int, room: int, address: str) -> None:
    """Check that a scheduler keeps a parcel.

    Args:
        size: The parcel's, in bytes.
        room: What the scheduler keeps, in bytes.
        address: The scheduler's, for the error.

    Raises:
        ClusterError: The parcel is larger.
    """
    if size > room:
        raise ClusterError(
            f"{address}: a table of {size >> 20:,} MiB is larger than what the scheduler keeps, {room >> 20:,} MiB"
            " (SCHEDULER_TABLES, in bytes)"
        )
