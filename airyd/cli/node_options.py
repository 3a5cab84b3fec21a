"""The options of the commands that ask running nodes by the admin API, such as ``airyd connections``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final

from airyd.cli.parser import CommandOptions, CommandParser
from airyd.cli.urls import ADMIN_URL, QUOTED, admin_url
from airyd.cli.values import add_ca_file, add_token_file, destination_name, whole_number
from airyd.management.queries import LONGEST_TEXT, ConnectionState, SortKey, TraceQuery
from airyd.spelling import did_you_mean

#: Seconds that a trace may take: the server's bounds.
_MOST_SECONDS: Final = 600
#: Characters of an id or a name in a query: the server's bound.
_LONGEST_ID: Final = 300
#: Characters of a filter: the server's bound.
_LONGEST_FILTER: Final = 1000
_MOST_INTERVAL: Final = 3600

ON: Final = "on"
OFF: Final = "off"


class NodeOptions(CommandOptions):
    """The options of all commands that ask nodes.

    :ivar urls: the admin pages, each once
    """

    admin: Sequence[str] | None
    token_file: str | None
    ca_file: str | None

    @property
    def urls(self) -> Sequence[str]:
        """The admin pages, each once."""
        return tuple(dict.fromkeys(url.rstrip("/") for url in self.admin or (ADMIN_URL,)))

    @classmethod
    def add_options(cls, parser: CommandParser) -> None:
        """See :class:`CommandOptions`."""
        cls.add_own_options(parser)
        text = f"admin page of a node, http or https; repeatable, for several nodes [default: {ADMIN_URL}]"
        parser.option("--admin", metavar="URL", action="append", type=admin_url, help=text)
        add_token_file(parser, "the admin pages' token", "AIRYD_ADMIN_TOKEN")
        add_ca_file(parser, "https")

    @classmethod
    def add_own_options(cls, parser: CommandParser) -> None:
        """Add the options that other commands don't have."""

    def check(self, arguments: Sequence[str]) -> None:
        """See :class:`CommandOptions`."""
        if self.ca_file is not None and not any(url.startswith("https:") for url in self.urls):
            raise ValueError("--ca-file is for an https:// URL of --admin")
        self.check_arguments(arguments)

    def check_arguments(self, arguments: Sequence[str]) -> None:
        """Set and check the command's own arguments; raises ``ValueError``."""
        raise NotImplementedError


class TopOptions(NodeOptions):
    """The options of ``airyd top``.

    :ivar interval: seconds between two looks
    :ivar count: how many looks; None for no end
    """

    usage = ""
    summary = "watch nodes and their slowest connections"
    description = """\
Show the nodes with their connections, rates and lag, and the connections that
are the furthest behind. On a terminal it is a table that changes: s sorts it by
another column, q ends. On a dumb terminal it is lines, in a pipe JSON lines."""
    details = ""

    interval = 2
    count: int | None

    @classmethod
    def add_own_options(cls, parser: CommandParser) -> None:
        """See :class:`NodeOptions`."""
        text = "seconds between two looks [default: 2]"
        parser.option("--interval", "-i", metavar="SECONDS", type=_whole(_MOST_INTERVAL), help=text)
        text = "print lines, and exit after N for each node [default: never]"
        parser.option("--count", "-n", metavar="N", type=whole_number, help=text)

    def check_arguments(self, arguments: Sequence[str]) -> None:
        """See :class:`NodeOptions`."""
        if arguments:
            raise ValueError("it takes no arguments; give the nodes with --admin URL")


class ConnectionsOptions(NodeOptions):
    """The options of ``airyd connections``.

    :ivar id: the connection to show in full; None for a list
    :ivar filters: the list's filters by the names that the API has for them
    :ivar limit: the most connections of the list; None for all
    """

    usage = "[ID]"
    summary = "list the connections of nodes, or show one in full"
    description = """\
List the connections of all nodes given, or show the connection ID with its
subscriptions: as a table on a terminal, as JSON lines in a pipe. The exit status
is 1 if a node does not answer, or if no node has the connection ID."""
    details = """\
  ID           a connection's id: the session header of its CONNECTED"""

    id: str | None = None
    subject: str | None
    address: str | None
    destination: str | None
    state: ConnectionState | None
    sort: SortKey = SortKey.AGE
    limit: int | None

    @classmethod
    def add_own_options(cls, parser: CommandParser) -> None:
        """See :class:`NodeOptions`."""
        parser.option("--subject", metavar="NAME", type=_name, help="only connections of this user")
        text = "only connections from this address, without a port"
        parser.option("--address", metavar="ADDRESS", type=_name, help=text)
        text = "only connections that subscribe to this destination"
        parser.option("--destination", metavar="NAME", type=destination_name, help=text)
        states = ", ".join(each.value for each in ConnectionState)
        text = f"only connections with this state: {states}"
        parser.option("--state", metavar="STATE", type=_one_of(ConnectionState), choices=ConnectionState, help=text)
        keys = ", ".join(each.value for each in SortKey)
        text = f"largest first, by {keys} [default: {SortKey.AGE.value}, the oldest first]"
        parser.option("--sort", metavar="KEY", type=_one_of(SortKey), choices=SortKey, help=text)
        parser.option("--limit", metavar="N", type=whole_number, help="list at most N connections [default: all]")

    @property
    def filters(self) -> Mapping[str, str]:
        """The list's filters, by the names that the API has for them."""
        state = None if self.state is None else self.state.value
        given = {"subject": self.subject, "address": self.address, "destination": self.destination, "state": state}
        return {name: value for name, value in given.items() if value is not None}

    def check_arguments(self, arguments: Sequence[str]) -> None:
        """See :class:`NodeOptions`."""
        if len(arguments) > 1:
            raise ValueError(f"give one ID at most, not {len(arguments)}")
        if arguments:
            self.id = _name(arguments[0])
            if self.filters or self.limit is not None or self.sort is not SortKey.AGE:
                raise ValueError("give either an ID, or what to list and how to sort it")


class KickOptions(NodeOptions):
    """The options of ``airyd kick``.

    :ivar id: the connection; None for all of a user
    :ivar reason: what the client is told
    """

    usage = "ID | --subject NAME"
    summary = "end a connection, or all connections of a user"
    description = """\
End the connection ID, or all connections of a user, on all nodes given, and say
how many there were on each. The clients may connect again: airyd revoke keeps
them out. The exit status is 1 if there was none, or if a node does not answer."""
    details = """\
  ID           a connection's id: the session header of its CONNECTED"""

    id: str | None = None
    subject: str | None
    reason = ""

    @classmethod
    def add_own_options(cls, parser: CommandParser) -> None:
        """See :class:`NodeOptions`."""
        parser.option("--subject", metavar="NAME", type=_name, help="end all connections of this user")
        text = "is added to the body of the ERROR that the clients get"
        parser.option("--reason", metavar="TEXT", type=_reason, help=text)

    def check_arguments(self, arguments: Sequence[str]) -> None:
        """See :class:`NodeOptions`."""
        if len(arguments) + (self.subject is not None) != 1:
            raise ValueError("give what to end: one ID, or one --subject")
        if arguments:
            self.id = _name(arguments[0])


class TraceOptions(NodeOptions):
    """The options of ``airyd trace``.

    :ivar id: the connection to follow; None for a user or a destination
    :ivar seconds: how long
    :ivar bodies: whether to show bodies
    :ivar filter: fields of an event's body and values that they may have
    """

    usage = "ID | --subject NAME | --destination NAME"
    summary = "follow the frames of a connection, a user or a destination"
    description = """\
Print the STOMP frames of one connection, of all connections of a user, or of one
destination, as they come and go: readable on a terminal, as JSON lines in a pipe.
Passwords and tokens are masked. Bodies are shown only with --bodies."""
    details = """\
  ID           a connection's id: the session header of its CONNECTED"""

    id: str | None = None
    subject: str | None
    destination: str | None
    seconds = int(TraceQuery().seconds)
    bodies: bool
    filter: Sequence[str] | None

    @classmethod
    def add_own_options(cls, parser: CommandParser) -> None:
        """See :class:`NodeOptions`."""
        parser.option("--subject", metavar="NAME", type=_name, help="follow all connections of this user")
        text = "follow the events of this destination"
        parser.option("--destination", metavar="NAME", type=destination_name, help=text)
        text = f"end after this time, at most {_MOST_SECONDS} [default: {cls.seconds}]"
        parser.option("--seconds", metavar="SECONDS", type=_whole(_MOST_SECONDS), help=text)
        parser.option("--bodies", action="store_true", help="show the bodies; needs the full token")
        text = "with --destination: only events whose body has this value in this field; repeatable"
        parser.option("--filter", metavar="FIELD:VALUE", action="append", type=_field_value, help=text)

    @property
    def parameters(self) -> Sequence[tuple[str, str]]:
        """The parameters of the request."""
        given = (("connection", self.id), ("subject", self.subject), ("destination", self.destination))
        return [
            *((name, value) for name, value in given if value is not None),
            ("seconds", str(self.seconds)),
            *((("bodies", "true"),) if self.bodies else ()),
            *(("filter", each) for each in self.filter or ()),
        ]

    def check_arguments(self, arguments: Sequence[str]) -> None:
        """See :class:`NodeOptions`."""
        if len(arguments) + (self.subject is not None) + (self.destination is not None) != 1:
            raise ValueError("give what to follow: one ID, one --subject or one --destination")
        if self.filter and self.destination is None:
            raise ValueError("--filter is for a --destination")
        if arguments:
            self.id = _name(arguments[0])


class DrainOptions(NodeOptions):
    """The options of ``airyd drain``.

    :ivar is_on: whether to drain the nodes, or to take that back
    """

    usage = f"{ON} | {OFF}"
    summary = "drain nodes without ending them, or take that back"
    description = """\
on: the nodes are not ready any more, refuse new clients, and close those that
they have over --drain-seconds. off: the nodes serve clients again. Prints how
many connections are left on each node."""
    details = f"  {ON}, {OFF}      whether the nodes are to drain"
    first = (ON, OFF)

    is_on: bool

    def check_arguments(self, arguments: Sequence[str]) -> None:
        """See :class:`NodeOptions`."""
        if len(arguments) != 1 or arguments[0] not in self.first:
            raise ValueError(f"give {ON} or {OFF}")
        self.is_on = arguments[0] == ON


class ExplainOptions(NodeOptions):
    """The options of ``airyd explain``.

    :ivar event: the event's id
    :ivar id: the connection's id
    """

    usage = "EVENT ID"
    summary = "say what happened to an event, for one connection"
    description = """\
Say whether the event EVENT was sent to the connection ID, and if not, why. The
exit status is 1 if no node given has the connection, or if the history does not
have the event."""
    details = """\
  EVENT        the event's message-id; the id that Redis gave it needs
               --destination, too
  ID           the connection's id: the session header of its CONNECTED"""

    event: str
    id: str
    destination: str | None

    @classmethod
    def add_own_options(cls, parser: CommandParser) -> None:
        """See :class:`NodeOptions`."""
        text = "the event's destination, if EVENT is not a message-id"
        parser.option("--destination", metavar="NAME", type=destination_name, help=text)

    def check_arguments(self, arguments: Sequence[str]) -> None:
        """See :class:`NodeOptions`."""
        if len(arguments) != 2:
            raise ValueError("two arguments are needed: the id of an event, and that of a connection")
        self.event, self.id = map(_name, arguments)


def _whole(most: int) -> Callable[[str], int]:
    return lambda number: whole_number(number, most)


def _name(text: str) -> str:
    """Check an id, an address or the name of a user."""
    if not text or len(text) > _LONGEST_ID or not text.isprintable():
        raise ValueError(f"give 1 to {_LONGEST_ID} printable characters")
    return text


def _reason(text: str) -> str:
    if len(text) > LONGEST_TEXT or not text.isprintable():
        raise ValueError(f"give at most {LONGEST_TEXT} printable characters")
    return text


def _field_value(text: str) -> str:
    name, colon, _ = text.partition(":")
    if not name or not colon or len(text) > _LONGEST_FILTER or not text.isprintable():
        raise ValueError("give FIELD:VALUE, such as conversation_id:c-1")
    return text


def _one_of(kind: type[Enum]) -> Callable[[str], Enum]:
    """Return a reader of the values of an enumeration."""
    names = [str(each.value) for each in kind]

    def read(text: str) -> Enum:
        if text not in names:
            raise ValueError(f"there is no {text[:QUOTED]!r}{did_you_mean(text, names)} There are: {', '.join(names)}")
        return kind(text)

    return read
