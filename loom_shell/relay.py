"""One exchange in the shell: ASGI messages to events, actions to ASGI messages and upstream.

Two tasks: the client side turns what the client sends into events for as long as it is there; the
answer side performs everything that must happen in order, and reads upstream only as fast as the
client takes the bytes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import httpx
from attrs import frozen

from loom_core.actions import (
    AbortResponse,
    AbortUpstream,
    Action,
    Decide,
    EndResponse,
    EndUpstreamRequest,
    LogExchange,
    LookUp,
    Note,
    Recall,
    SendChunk,
    SendHead,
    SendUpstream,
    SendUpstreamChunk,
    SetTimer,
)
from loom_core.events import (
    ClientGone,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    ShutdownRequested,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.values import ExchangeKey
from loom_shell.driver import Driver
from loom_shell.upload import Upload
from loom_shell.upstream import Upstream, cause_of
from loom_shell.weaver import Asks, Weaver

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LINGER_SECONDS = 5.0
"""How long an answer that came early waits, at its end, for the client to send the rest of its request."""


@frozen
class Others:
    """Whom an exchange speaks to beside its client."""

    upstream: Upstream
    weaver: Weaver


class Relay:
    """Runs one exchange from its first event to its log line."""

    def __init__(
        self, key: ExchangeKey, driver: Driver, others: Others, receive: Receive, send: Send
    ) -> None:
        self.key = key
        self._weaver = others.weaver
        self._driver = driver
        self._upstream = others.upstream
        self._receive = receive
        self._send = send
        self._upload: Upload | None = None
        self._outbox: deque[Action] = deque()
        self._news = asyncio.Event()
        self._order: SendUpstream | Asks | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_waiting = False
        self._is_aborted = False
        self._timer: asyncio.TimerHandle | None = None
        self._request_over = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._over = False
        self._whole_at = 0
        self.held: int | None = None
        """Nanoseconds from the last byte of a request read whole to its first attempt; None without one."""

    async def run(self, asked: RequestReceived, *, refuse: bool = False) -> None:
        """`refuse`: the Loom is draining; the request is answered so and goes nowhere."""
        self._driver.begin(self.key, self._perform)
        self._task = asyncio.current_task()
        try:
            self._driver.dispatch(self.key, asked)
            while self._order is None and not self._outbox and not self._request_over.is_set():
                # A body that is read whole: there is nothing else to do meanwhile.
                self._told_by_client(await self._receive())
            if not self._request_over.is_set():
                self._read_on()
            if refuse:
                self.shut_down()
            await self._answer_side()
        except asyncio.CancelledError:
            # The server lets go of the connection, since its client went or shutting down took too long.
            self._abandon()
            raise
        except Exception as error:  # noqa: BLE001  # Whatever the server refuses ends this exchange only.
            text = f"the answer could not be relayed: {type(error).__name__}: {error}"
            self._driver.do(self.key, Note(text))
            self._abandon()
        finally:
            self._driver.end(self.key)
            self._drop_upload()
            if self._timer is not None:
                self._timer.cancel()

    def watch(self) -> None:
        """From now on, see when the client leaves. A request that streams up is watched from the start."""
        if self._reading is None and self._request_over.is_set():
            self._read_on()

    def _read_on(self) -> None:
        """Read what the client still sends, in a task of its own.

        It ends by itself, at the disconnect that the server reports after every response: were it to
        end before, a server whose queue is full of the request's rest could never close the connection.
        """
        self._reading = asyncio.get_running_loop().create_task(self._client_side())

    def shut_down(self) -> None:
        """The drain time is over."""
        self._driver.dispatch(self.key, ShutdownRequested(self._driver.now()))

    def _perform(self, action: Action) -> None:
        """Do at once what concerns upstream; keep the rest for the answer side, in order."""
        match action:
            case SendChunk() | SendHead():
                # The answer side read what they follow from, or an `EndResponse` comes along: no call needed.
                self._outbox.append(action)
                return
            case LookUp() | Recall() | Decide():
                self._order = action
            case SendUpstream(body=body):
                self._order = action
                if body is None and self._upload is None:
                    self._upload = Upload()
            case SendUpstreamChunk(data=data) if self._upload is not None:
                self._upload.feed(data)
            case EndUpstreamRequest() if self._upload is not None:
                self._upload.end()
            case AbortUpstream():
                self._order = None
                self._is_aborted = True
                if self._is_waiting and self._task is not None:
                    self._task.cancel()
            case SetTimer():
                self._timer = self._driver.wake(self.key, action)
            case _:
                self._outbox.append(action)
        self._news.set()

    async def _client_side(self) -> None:
        while self._told_by_client(await self._receive()):
            if self._upload is not None:
                await self._upload.room()

    def _told_by_client(self, message: Message) -> bool:
        """One message from the client as events; False once it is gone."""
        driver, key = self._driver, self.key
        if message["type"] != "http.request":
            self._request_over.set()
            driver.dispatch(key, ClientGone(driver.now()))
            return False
        body = message.get("body", b"")
        if body:
            driver.dispatch(key, RequestChunkReceived(driver.now(), body))
        if not message.get("more_body", False):
            self._request_over.set()
            self._whole_at = driver.now()
            driver.dispatch(key, RequestEnded(self._whole_at))
        return True

    async def _answer_side(self) -> None:
        while True:
            await self._flush()
            if self._over:
                return
            if self._order is not None:
                order, self._order = self._order, None
                await self._abortable(order)
            else:
                self._news.clear()
                await self._news.wait()

    async def _abortable(self, order: SendUpstream | Asks) -> None:
        """Ask, or make an attempt, so that `AbortUpstream` can end it wherever it waits.

        What a cancel scope does, for this one task and purpose: a cancellation of ours is taken back,
        one that came from elsewhere goes on.
        """
        self._is_aborted, self._is_waiting = False, True
        try:
            if isinstance(order, SendUpstream):
                await self._attempt(order)
            else:
                self._driver.dispatch(self.key, await self._weaver.answer(order))
        except asyncio.CancelledError:
            if not self._is_aborted or self._task is None or self._task.uncancel() > 0:
                raise
        finally:
            self._is_waiting = False

    async def _attempt(self, order: SendUpstream) -> None:
        driver, key = self._driver, self.key
        if order.attempt == 1 and self._upload is None:
            self.held = driver.now() - self._whole_at
        try:
            answer = await self._upstream.open(order, self._upload)
        except httpx.TransportError as error:
            self._failed(error)
            return
        try:
            self._is_waiting = False
            driver.dispatch(key, UpstreamHeadReceived(driver.now(), answer.status, answer.headers))
            self._is_waiting = True
            if self._is_aborted:
                # A status that is tried again: nothing of its body is wanted.
                return
            await self._flush()
            async for data in answer:
                driver.dispatch(key, UpstreamChunkReceived(driver.now(), data))
                await self._flush()
            driver.dispatch(key, UpstreamEnded(driver.now()))
        except httpx.TransportError as error:
            self._failed(error)
        finally:
            await answer.aclose()

    def _failed(self, error: httpx.TransportError) -> None:
        replayable = self._upload is None or not self._upload.taken
        self._driver.dispatch(
            self.key, UpstreamFailed(self._driver.now(), cause_of(error), replayable, f"{error}")
        )

    def _drop_upload(self) -> None:
        if self._upload is not None:
            self._upload.close()

    def _abandon(self) -> None:
        """The client can be told nothing more: abort upstream, and write what is left to the log."""
        self._driver.dispatch(self.key, ClientGone(self._driver.now()))
        while self._outbox:
            action = self._outbox.popleft()
            if not isinstance(action, SendHead | SendChunk | EndResponse | AbortResponse):
                self._driver.do(self.key, action)

    async def _linger(self) -> None:
        """Read and drop what is left of the request before the server may close the connection.

        RFC 9112 section 9.6: closing with unread bytes resets the connection, and the reset can take
        the answer from a client that has not read it yet.
        """
        self._drop_upload()
        if not self._request_over.is_set():
            with anyio.move_on_after(LINGER_SECONDS):
                await self._request_over.wait()

    async def _flush(self) -> None:
        """Perform what waits, in order."""
        outbox = self._outbox
        while outbox:
            action = outbox.popleft()
            match action:
                case SendChunk(data=data):
                    await self._send({"type": "http.response.body", "body": data, "more_body": True})
                case SendHead(status=status, headers=headers):
                    await self._send({"type": "http.response.start", "status": status, "headers": headers})
                case EndResponse():
                    await self._linger()
                    await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                case AbortResponse():
                    # Returning with the response open makes the server close the connection without
                    # the final chunk, which no client can take for a clean end.
                    pass
                case LogExchange():
                    self._driver.do(self.key, action)
                    self._over = True
                case _:
                    self._driver.do(self.key, action)
