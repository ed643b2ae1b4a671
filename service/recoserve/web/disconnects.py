"""Callers that leave before their answer: noticed, so that what they asked for is dropped.

A server tells of it only to whoever awaits `receive`. To do so for every request would cost more than it saves, so only those that
have been waiting for a while are watched.
"""

import asyncio

from starlette.types import Receive

PATIENCE = 0.05  # seconds; a caller is watched after once to twice that


class Visit:
    """A caller that waits, from the time its request has been read; `leave` it when the answer is there."""

    __slots__ = ("_left", "_receive", "_task", "_watcher", "gone")

    def __init__(self, receive: Receive, task: asyncio.Task[object] | None) -> None:
        self._receive: Receive | None = receive
        self._task = task
        self._watcher: asyncio.Task[None] | None = None
        self._left = False
        self.gone = False

    def leave(self) -> None:
        self._left, self._receive, self._task = True, None, None  # what is kept until the next look would be cold memory by then
        if self._watcher:
            self._watcher.cancel()

    def watch(self) -> None:
        """From now on, cancel the task that waits once its caller is gone."""
        if not self._left:
            self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while self._receive and (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task and not self._left:
            self.gone = True
            self._task.cancel()


class DisconnectWatch:
    """All visits under way, and those before that ended since the last look."""

    def __init__(self) -> None:
        self._recent: list[Visit] = []
        self._older: list[Visit] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that of the next look, as long as one is due

    def enter(self, receive: Receive) -> Visit:
        if not self._loop:
            self._loop = asyncio.get_running_loop()
            self._loop.call_later(PATIENCE, self._look)
        visit = Visit(receive, asyncio.current_task(self._loop))
        self._recent.append(visit)
        return visit

    def _look(self) -> None:
        for visit in self._older:
            visit.watch()
        self._older, self._recent = self._recent, []
        if self._loop and self._older:
            self._loop.call_later(PATIENCE, self._look)
        else:
            self._loop = None
