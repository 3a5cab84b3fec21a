"""Nodes for the commands that ask them: web servers on loopback that answer as the admin API does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.admin_client import AdminClient
from airyd.cli.nodes import Node
from airyd.management.queries import (
    ConnectionDetails,
    ConnectionRow,
    ConnectionsReply,
    ConnectionState,
    OverviewReply,
    SubscriptionInfo,
)
from tests.cli.fakes import Screen
from tests.cli.web import Answer, Web

#: When all of it happens, in seconds since 1970.
NOW: Final = 1_795_000_000.0
ABSENT: Final = (404, b'{"error": "there is no connection with this id (any more)"}')
UNREACHABLE: Final = "http://127.0.0.1:1"


def row(number: int, **fields: Any) -> ConnectionRow:
    """Return a connection of Ann's."""
    given: dict[str, Any] = {
        "id": f"c-{number}",
        "process": "airyd",
        "state": ConnectionState.LIVE,
        "subject": "ann",
        "address": f"127.0.0.1:{number}",
        "agent": None,
        "version": "1.2",
        "since": NOW - number,
        "subscriptions": 1,
        "events": number,
        "buffered": 0,
        "lag": 0.0,
    }
    return ConnectionRow(**{**given, **fields})


def details(connection: ConnectionRow, *subscriptions: SubscriptionInfo, **fields: Any) -> ConnectionDetails:
    """Return a connection in full."""
    given: dict[str, Any] = {
        "heart_beat": (10.0, 0.0),
        "heard": 3.0,
        "token_end": NOW + 600,
        "sent": 2048,
        "received": None,
        "limit": 4096,
    }
    return ConnectionDetails(connection=connection, subscriptions=subscriptions, **{**given, **fields})


def overview(**fields: Any) -> OverviewReply:
    """Return the figures of a node."""
    given: dict[str, Any] = {
        "time": NOW,
        "ready": True,
        "connections": 5,
        "sessions": 4,
        "opened": 10,
        "closed": 5,
        "events": 100,
        "deliveries": 1000,
        "sent": 12345,
        "slow": 2,
        "catching_up": 1,
        "buffered": 2048,
        "lag_seconds": 1.5,
        "delivery": [],
        "round_trip": [],
        "warnings": [],
    }
    return OverviewReply(**{**given, **fields})


def answer(reply: msgspec.Struct) -> Answer:
    """Return an answer with the fields of a reply, as the API gives it."""
    return 200, msgspec.json.encode(msgspec.to_builtins(reply))


def page(*rows: ConnectionRow, **fields: Any) -> Answer:
    """Return a page of connections."""
    return answer(ConnectionsReply(connections=rows, **{"total": len(rows), **fields}))


class NodesCase(SynchronousTestCase):
    """Makes nodes, and a console that is a pipe."""

    def setUp(self) -> None:
        self.screen = Screen("airyd")

    def node(self, answers: Mapping[str, Answer]) -> tuple[Node, Web]:
        """Return a node that gives these answers, by their methods and paths below ``/api/v1``; all others are 404."""
        web = Web()
        self.addCleanup(web.close)
        web.answer = lambda body: ABSENT
        for request, given in answers.items():
            method, _, path = request.partition(" ")
            web.answers[f"{method} /api/v1/{path}"] = given
        return self.at(web.url), web

    def at(self, url: str) -> Node:
        """Return a node with this admin page."""
        client = AdminClient(url, lambda: 0.0, "the-token")
        self.addCleanup(client.close)
        return Node(url, client)

    def on_terminal(self) -> None:
        """Make the console a terminal without colours."""
        self.screen = Screen("airyd", terminal=True)

    def printed(self) -> list[Any]:
        """Return the JSON lines on standard output."""
        return [json.loads(line) for line in self.screen.out.text.splitlines()]
