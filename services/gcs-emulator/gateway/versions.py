"""Older versions of objects: the bucket is versioned, as the one that deploy/gcp/provision makes.

fake-gcs-server keeps none when it keeps objects in files. So the gateway copies what is about to be replaced or deleted
into a second bucket, which no client sees, under the object's name and generation. A copy whose generation is still
the present one is none yet: the upload that was to replace it has not come to its end.
"""

from typing import Any
from urllib.parse import quote

from aiohttp import ClientSession

from gateway import errors


def path(bucket: str, name: str) -> str:
    """Returns an object's address in the storage."""
    return f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"


class Versions:
    """The versions of one bucket's objects.

    Args:
        store: The storage.
        bucket: The versioned bucket.
    """

    def __init__(self, store: ClientSession, bucket: str) -> None:
        self._store = store
        self.bucket = bucket
        self.hidden = f"{bucket}.noncurrent"

    def _copy(self, name: str, generation: str) -> str:
        return path(self.hidden, f"{name}#{generation}")

    async def _describe(self, address: str) -> dict[str, Any] | None:
        async with self._store.get(address) as answer:
            if answer.status != 200:
                return None
            description: dict[str, Any] = await answer.json()
            return description

    async def keep(self, name: str) -> None:
        """Copies the present version, if there is one: it is about to be replaced or deleted."""
        live = await self._describe(path(self.bucket, name))
        if live is None:
            return
        copy = self._copy(name, live["generation"])
        if await self._describe(copy) is None:
            source = f"{path(self.bucket, name)}/rewriteTo{copy.removeprefix('/storage/v1')}"
            async with self._store.post(source) as answer:
                if answer.status != 200:
                    raise errors.StorageError(503, "The older version could not be kept.", "backendError")

    async def place(self, name: str, generation: str) -> str:
        """Returns where the storage has a version: the object's address, or its copy's.

        Raises:
            StorageError: There is no such version.
        """
        live = await self._describe(path(self.bucket, name))
        if live is not None and live["generation"] == generation:
            return path(self.bucket, name)
        copy = self._copy(name, generation)
        if await self._describe(copy) is None:
            raise errors.no_such_object(self.bucket, f"{name}#{generation}")
        return copy

    async def description(self, place: str) -> dict[str, Any]:
        """Returns the description of the version at a place."""
        found = await self._describe(place)
        if found is None:
            raise errors.no_such_object(self.bucket, place)
        return found if found["bucket"] == self.bucket else self.described(found)

    async def delete(self, name: str, generation: str) -> None:
        """Deletes one version for good.

        Raises:
            StorageError: There is no such version.
        """
        for address in {await self.place(name, generation), self._copy(name, generation)}:
            async with self._store.delete(address):
                pass

    async def _all(self, bucket: str, prefix: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        query = {"prefix": prefix}
        while True:
            async with self._store.get(f"/storage/v1/b/{quote(bucket, safe='')}/o", params=query) as answer:
                page = await answer.json()
            found += page.get("items", [])
            if not page.get("nextPageToken"):
                return found
            query["pageToken"] = page["nextPageToken"]

    def described(self, copy: dict[str, Any]) -> dict[str, Any]:
        """Returns a copy's description as that of the version that it is a copy of."""
        name, _, generation = copy["name"].rpartition("#")
        number = f"{self.bucket}/{name}/{generation}"
        return copy | {"bucket": self.bucket, "name": name, "generation": generation, "id": number}

    async def listing(self, prefix: str) -> dict[str, Any]:
        """Returns all versions of the objects below a prefix, in one page, the oldest first."""
        live = await self._all(self.bucket, prefix)
        present = {(item["name"], item["generation"]) for item in live}
        older = [self.described(copy) for copy in await self._all(self.hidden, prefix)]
        items = live + [item for item in older if (item["name"], item["generation"]) not in present]
        items.sort(key=lambda item: (item["name"], int(item["generation"])))
        return {"kind": "storage#objects", "items": items}
