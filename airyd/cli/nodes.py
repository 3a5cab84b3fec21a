"""Nodes that a command asks by their admin pages: all at once, so that one that does not answer delays no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from threading import Thread
from typing import Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from airyd.cli.admin_client import AdminClient, Reply, RequestFailed, ServerEvent
from airyd.cli.terminal import Console
from airyd.management.queries import (
    LARGEST_PAGE,
    ConnectionDetails,
    ConnectionRow,
    ConnectionsReply,
    DrainReply,
    ExplainReply,
    KickReply,
    OverviewReply,
    SortKey,
)

_API: Final = "api/v1"
#: Seconds after which a node that has not answered is named on a terminal.
_PROGRESS_AFTER: Final = 2.0
#: The texts for the user if it is not known whether a node did it.
UNSURE_KICK: Final = "the connections may have been ended"
UNSURE_DRAIN: Final = "it may be draining or not: repeating it is safe"

_T = TypeVar("_T")
_Answer = TypeVar("_Answer")


class NodeFailed(Exception):
    """A node does not answer, or refuses; the text says which node and why, in one line.

    :ivar is_absent: whether the node answers that it does not have what it was asked about
    """

    def __init__(self, reason: str, is_absent: bool = False) -> None:
        super().__init__(reason)
        self.is_absent = is_absent


class Node:
    """One node. A thread at a time may ask it.

    Errors of its methods: :class:`NodeFailed`.

    :param url: its admin page
    """

    def __init__(self, url: str, client: AdminClient) -> None:
        self.url = url
        self._client = client

    def close(self) -> None:
        """Close the connection, if there is one; a later question opens another."""
        self._client.close()

    def overview(self) -> OverviewReply:
        """Return the node's figures."""
        return self._convert(self._get("overview"), OverviewReply)

    def page(
        self, filters: Mapping[str, str], sort: SortKey, limit: int, cursor: str | None = None
    ) -> ConnectionsReply:
        """Return a page of the connections."""
        parameters = {**filters, "sort": sort.value, "limit": str(min(limit, LARGEST_PAGE))}
        if cursor is not None:
            parameters["cursor"] = cursor
        return self._convert(self._get("connections", parameters), ConnectionsReply)

    def connections(
        self, filters: Mapping[str, str], sort: SortKey, limit: int | None
    ) -> tuple[Sequence[ConnectionRow], Sequence[str]]:
        """Return all connections, and the workers that did not answer.

        :param limit: the most connections; None for all
        """
        rows: list[ConnectionRow] = []
        missing: set[str] = set()
        cursor = None
        while limit is None or len(rows) < limit:
            reply = self.page(filters, sort, LARGEST_PAGE if limit is None else limit - len(rows), cursor)
            rows += reply.connections
            missing.update(reply.missing)
            cursor = reply.next
            if cursor is None:
                break
        return rows, sorted(missing)

    def connection(self, connection_id: str) -> ConnectionDetails | None:
        """Return one connection; None if the node does not have it."""
        reply = self._get(f"connections/{quote(connection_id, safe='')}")
        return None if _is_absent(reply) else self._convert(reply, ConnectionDetails)

    def kick(self, connection_id: str, reason: str) -> KickReply:
        """End one connection."""
        path = f"connections/{quote(connection_id, safe='')}?{urlencode({'reason': reason})}"
        reply = self._ask(lambda: self._client.delete(f"{_API}/{path}", UNSURE_KICK))
        return KickReply(disconnected=0) if _is_absent(reply) else self._convert(reply, KickReply)

    def kick_subject(self, subject: str, reason: str) -> KickReply:
        """End all connections of a user."""
        path = f"{_API}/connections?{urlencode({'subject': subject, 'reason': reason})}"
        return self._convert(self._ask(lambda: self._client.delete(path, UNSURE_KICK)), KickReply)

    def drain(self, is_on: bool) -> DrainReply:
        """Begin or end to drain the node."""
        path = f"{_API}/drain"
        if is_on:
            reply = self._ask(lambda: self._client.post(path, b"", UNSURE_DRAIN))
        else:
            reply = self._ask(lambda: self._client.delete(path, UNSURE_DRAIN))
        return self._convert(reply, DrainReply)

    def explain(self, event: str, connection_id: str, destination: str | None) -> ExplainReply:
        """Return what happened to an event, for one connection."""
        parameters = {"event": event, "connection": connection_id}
        if destination is not None:
            parameters["destination"] = destination
        return self._convert(self._get("explain", parameters), ExplainReply)

    def trace(self, parameters: Sequence[tuple[str, str]]) -> Iterator[ServerEvent]:
        """Yield the events of a trace until it ends: ``open``, ``line``, ``dropped`` and ``end``."""
        try:
            yield from self._client.follow(f"{_API}/trace?{urlencode(parameters)}")
        except RequestFailed as error:
            raise self._failed(str(error), error.status == HTTPStatus.NOT_FOUND) from None

    def _get(self, path: str, parameters: Mapping[str, str] | None = None) -> Reply:
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self._ask(lambda: self._client.get(f"{_API}/{path}{query}"))

    def _ask(self, ask: Callable[[], Reply]) -> Reply:
        try:
            return ask()
        except RequestFailed as error:
            raise self._failed(str(error)) from None

    def _convert(self, reply: Reply, kind: type[_T]) -> _T:
        if reply.status != HTTPStatus.OK:
            raise self._failed(reply.reason)
        try:
            return msgspec.convert(reply.value, kind)
        except msgspec.ValidationError:
            raise self._failed("the answer is not understood: is this airyd's admin page, of this version?") from None

    def _failed(self, reason: str, is_absent: bool = False) -> NodeFailed:
        return NodeFailed(reason if self.url in reason else f"{self.url}: {reason}", is_absent)


def _is_absent(reply: Reply) -> bool:
    """Return whether the node says itself that it does not have the connection."""
    return reply.status == HTTPStatus.NOT_FOUND and isinstance(reply.value, dict) and "error" in reply.value


@dataclass(frozen=True, slots=True)
class NodeAnswers(Generic[_Answer]):
    """The answers of the nodes that answered, in the order of the nodes.

    :ivar is_complete: whether all nodes answered
    """

    answers: Sequence[tuple[Node, _Answer]]
    is_complete: bool


def ask_all(
    nodes: Sequence[Node], ask: Callable[[Node], _Answer], console: Console, unsure: str = ""
) -> NodeAnswers[_Answer]:
    """Ask all nodes at once; say on standard error which ones fail, and why, and on a terminal which one is slow.

    :param unsure: the text for the user if the command is interrupted; empty if nothing is changed
    """

    def ask_one(node: Node) -> _Answer:
        with closing(node):
            return ask(node)

    answers = []
    try:  # also around the start of the threads: a node may do it before the main thread goes on
        for node, future in [(node, in_thread(partial(ask_one, node))) for node in nodes]:
            try:
                if wait([future], _PROGRESS_AFTER).not_done:
                    console.progress(f"waiting for {node.url}")
                answers.append((node, future.result()))
            except NodeFailed as error:
                console.say(str(error))
    except KeyboardInterrupt:
        console.clear_progress()
        if unsure:
            console.say(f"interrupted before all nodes answered; {unsure}")
        raise
    console.clear_progress()
    return NodeAnswers(answers, len(answers) == len(nodes))


def report_missing(node: Node, missing: Sequence[str], console: Console) -> bool:
    """Say which workers of a node did not answer; return whether there are any."""
    if missing:
        console.say(f"{node.url}: no answer from {', '.join(missing)}, whose connections are missing")
    return bool(missing)


def in_thread(work: Callable[[], _T]) -> Future[_T]:
    """Do the work in a thread that ends with the program, even if it waits for a node."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # whoever asks the future gets it
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
