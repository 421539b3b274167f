"""Passes a request on to the storage when it may pass, and its answer back."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

from aiohttp import ClientConnectionError, ClientResponse, web
from yarl import URL

from gateway import errors, operations, roles, uploads
from gateway.access import Access
from gateway.faults import Fault
from gateway.resumable import Finished, Upload
from gateway.state import Gateway
from gateway.versions import Versions

CHUNK = 256 * 1024
# How many resumable uploads are remembered, finished ones included. (Google forgets them after a week.)
UPLOADS = 10_000
# Headers that belong to one connection, and those that the gateway answers for itself. The override would let a request
# be another one than the one that was checked.
_NOT_PASSED_ON = {
    *("authorization", "connection", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    "x-http-method-override",
}
_NOT_PASSED_BACK = {"connection", "keep-alive", "transfer-encoding", "date", "server"}
_NOT_KEPT = _NOT_PASSED_BACK | {"content-length"}


class Cut(Exception):  # noqa: N818 - not an error: the connection is to end here
    """A fault: the connection ends without an answer."""


def error_response(error: errors.StorageError, *, media: bool) -> web.Response:
    """Returns the error as the service answers it: JSON, or plain text where content was asked for."""
    if media:
        return web.Response(status=error.status, text=error.message, headers=error.headers())
    return web.json_response(error.body(), status=error.status, headers=error.headers())


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_chunked(CHUNK):
        yield chunk


async def _drain(request: web.Request) -> None:
    # A client that is still sending would see a broken connection instead of the answer.
    async for _ in _body(request):
        pass


async def _paced(chunks: AsyncIterator[bytes], fault: Fault | None) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if fault and fault.kind == "slow":
            await asyncio.sleep(len(chunk) / fault.bytes_per_second)
        yield chunk


async def _cut(chunks: AsyncIterator[bytes], fault: Fault | None) -> AsyncIterator[bytes]:
    """Passes a request's body on up to where a fault ends it: the connection, or what is kept of a piece."""
    left = fault.after_bytes if fault and fault.kind in ("cut-request", "short") else None
    async for chunk in chunks:
        if left is None:
            yield chunk
            continue
        if left:
            yield chunk[:left]
        left -= min(left, len(chunk))
        if not left and fault and fault.kind == "cut-request":
            raise Cut


async def _joined(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for chunk in rest:
        yield chunk


async def hit(gateway: Gateway, request: web.Request, fault: Fault | None) -> None:
    """Does what a fault does before its request is looked at; raises StorageError or Cut."""
    if fault is None:
        return
    gateway.audit.add("fault", None, allowed=None, kind=fault.kind, method=request.method, path=request.raw_path)
    if fault.kind == "status":
        raise errors.injected(fault.status, fault.retry_after)
    if fault.kind == "delay":
        await asyncio.sleep(fault.seconds)
    if fault.kind == "cut-request" and not fault.after_bytes:
        await request.content.readany()
        raise Cut


def hang_up(request: web.Request) -> web.Response:
    """Ends the connection without an answer."""
    if request.transport:
        request.transport.abort()
    return web.Response()


class Proxy:
    """The storage API's handler."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._versions = Versions(gateway.store, gateway.settings.bucket)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        fault = self._gateway.faults.take(request.method, request.raw_path)
        path, _, query_string = request.raw_path.partition("?")
        query = {name: values[-1] for name, values in parse_qs(query_string, keep_blank_values=True).items()}
        wanted = operations.wanted(request.method, path, query)
        try:
            await hit(self._gateway, request, fault)
            if wanted is None:
                token = self._gateway.tokens.find(request.headers.get("Authorization", ""))
                caller = token.account.email if token else None
                self._gateway.audit.add("access", caller, allowed=False, method=request.method, path=path)
                raise errors.unknown_request(request.method, path)
            return await self._pass(request, wanted, query, fault)
        except errors.StorageError as error:
            await _drain(request)
            return error_response(error, media=wanted is not None and wanted.media)
        except (Cut, ClientConnectionError) as error:
            # The client of the storage wraps what its request's body raises.
            if not isinstance(error, Cut) and not (fault and fault.kind == "cut-request"):
                raise
            return hang_up(request)

    async def _pass(
        self, request: web.Request, wanted: operations.Wanted, query: dict[str, str], fault: Fault | None
    ) -> web.StreamResponse:
        access = Access(self._gateway, wanted, request.method)
        access.authenticate(request.headers.get("Authorization", ""))
        await access.require_bucket()
        body = _body(request)
        head = b""
        upload_id = query.get("upload_id", "")
        if upload_id:
            self._check_upload(access, wanted, upload_id)
        elif wanted.upload and not wanted.name:
            multipart = query.get("uploadType") == "multipart"
            name, head = await uploads.read_name(body, request.headers.get("Content-Type", ""), multipart=multipart)
            wanted = dataclasses.replace(wanted, name=name)
            access = access.for_object(wanted)
        access.require(wanted.permission)
        if wanted.source_bucket:
            source = operations.Wanted(roles.GET, wanted.source_bucket, wanted.source_name)
            access.for_object(source).require(roles.GET)
        if wanted.writes and not upload_id:
            if not wanted.name:
                raise errors.invalid("Required object name is missing.")
            await access.require_write(wanted.name)
        name = self._gateway.uploads[upload_id].name if upload_id else wanted.name
        url = URL(self._gateway.settings.store + request.raw_path, encoded=True)
        if wanted.bucket == self._versions.bucket:
            if generation := query.get("generation", ""):
                if request.method == "DELETE":
                    await self._versions.delete(name, generation)
                    return web.Response(status=204)
                if wanted.permission == roles.GET:
                    place = await self._versions.place(name, generation)
                    if not wanted.media:
                        return web.json_response(await self._versions.description(place))
                    url = URL(self._gateway.settings.store + place, encoded=True).with_query(alt="media")
            elif query.get("versions", "").lower() == "true" and wanted.permission == roles.LIST:
                return web.json_response(await self._versions.listing(query.get("prefix", "")))
            elif wanted.writes or wanted.permission == roles.DELETE:
                await self._versions.keep(name)
        if generation := query.get("sourceGeneration", ""):
            # The storage knows present versions only: it copies the one that was kept.
            if wanted.source_bucket != self._versions.bucket:
                raise errors.no_such_object(wanted.source_bucket, f"{wanted.source_name}#{generation}")
            place = await self._versions.place(wanted.source_name, generation)
            verb = "copyTo" if "/copyTo/" in request.raw_path else "rewriteTo"
            target = request.raw_path.partition("?")[0].partition(f"/{verb}/")[2]
            url = URL(f"{self._gateway.settings.store}{place}/{verb}/{target}", encoded=True)
        data = None if request.method in ("GET", "HEAD") else _cut(_joined(head, _paced(body, fault)), fault)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        if upload_id and data is not None and request.method == "PUT":
            return await self._take_piece(request, self._gateway.uploads[upload_id], url, headers, data, fault)
        if upload_id and request.method == "DELETE":
            self._gateway.uploads.pop(upload_id).cancel()
        async with self._gateway.store.request(
            request.method,
            url,
            headers=headers,
            data=data,
            allow_redirects=False,
        ) as answer:
            return await self._pass_back(request, answer, access, wanted, fault)

    async def _take_piece(
        self,
        request: web.Request,
        upload: Upload,
        url: URL,
        headers: dict[str, str],
        data: AsyncIterator[bytes],
        fault: Fault | None,
    ) -> web.StreamResponse:
        """Answers a piece of a resumable upload, or a question about it."""
        if upload.finished is None:
            taken = await upload.take(self._gateway.store, url, headers, data)
            if taken is not None:
                async with taken as answer:
                    headers = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_KEPT}
                    upload.finished = Finished(answer.status, headers, await answer.read())
        await _drain(request)
        if fault and fault.kind == "cut-response":
            raise Cut
        if upload.finished is None:
            has_come = {"Range": f"bytes=0-{upload.received - 1}"} if upload.received else {}
            return web.Response(status=308, headers=has_come)
        finished = upload.finished
        return web.Response(status=finished.status, headers=finished.headers, body=finished.body)

    def _check_upload(self, access: Access, wanted: operations.Wanted, upload_id: str) -> None:
        """Lets the parts of a resumable upload pass only for who began it, and only into that object."""
        begun = self._gateway.uploads.get(upload_id)
        known = begun is not None and (begun.account, begun.bucket) == (access.account.email, wanted.bucket)
        if begun is None or not known or wanted.name not in ("", begun.name):
            raise errors.StorageError(404, "No such upload.", "notFound")

    async def _pass_back(
        self,
        request: web.Request,
        answer: ClientResponse,
        access: Access,
        wanted: operations.Wanted,
        fault: Fault | None,
    ) -> web.StreamResponse:
        if fault and fault.kind == "cut-response" and not fault.after_bytes:
            await answer.read()
            raise Cut
        if answer.status == 404 and wanted.name and not wanted.upload:
            # Whether an object exists is told only to those who may list.
            if not access.holds(roles.LIST):
                raise errors.forbidden(access.account.email, roles.LIST)
            raise errors.no_such_object(wanted.bucket, wanted.name)
        headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_BACK]
        response = web.StreamResponse(status=answer.status, headers=headers)
        if location := answer.headers.get("Location"):
            self._begin_upload(location, access, wanted)
            # The address that this client uses: the storage's own means nothing to it.
            parts = urlsplit(location)
            response.headers["Location"] = f"{request.scheme}://{request.host}{parts.path}?{parts.query}"
        if wanted.permission == roles.BUCKET_DELETE and answer.status < 300:
            self._gateway.buckets.discard(wanted.bucket)
        await response.prepare(request)
        sent = 0
        async for chunk in _paced(answer.content.iter_chunked(CHUNK), fault):
            if fault and fault.kind == "cut-response" and sent + len(chunk) >= fault.after_bytes:
                await response.write(chunk[: fault.after_bytes - sent])
                raise Cut
            await response.write(chunk)
            sent += len(chunk)
        await response.write_eof()
        return response

    def _begin_upload(self, location: str, access: Access, wanted: operations.Wanted) -> None:
        for upload_id in parse_qs(urlsplit(location).query).get("upload_id", []):
            uploads = self._gateway.uploads
            uploads[upload_id] = Upload(access.account.email, wanted.bucket, wanted.name)
            if len(uploads) > UPLOADS:
                uploads.pop(next(iter(uploads))).cancel()
