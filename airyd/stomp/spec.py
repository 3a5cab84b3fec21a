"""STOMP's vocabulary as data: versions and their differences, commands, headers, escapes, heart-beats."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple


class Command:
    """The names of STOMP's commands."""

    CONNECT: Final = "CONNECT"
    STOMP: Final = "STOMP"
    SEND: Final = "SEND"
    SUBSCRIBE: Final = "SUBSCRIBE"
    UNSUBSCRIBE: Final = "UNSUBSCRIBE"
    ACK: Final = "ACK"
    NACK: Final = "NACK"
    BEGIN: Final = "BEGIN"
    COMMIT: Final = "COMMIT"
    ABORT: Final = "ABORT"
    DISCONNECT: Final = "DISCONNECT"
    CONNECTED: Final = "CONNECTED"
    MESSAGE: Final = "MESSAGE"
    RECEIPT: Final = "RECEIPT"
    ERROR: Final = "ERROR"


#: A client's commands, and whether each frame may have a body (STOMP 1.2, "Body").
FROM_CLIENT: Final[Mapping[str, bool]] = MappingProxyType(
    {
        Command.CONNECT: False,
        Command.STOMP: False,
        Command.SEND: True,
        Command.SUBSCRIBE: False,
        Command.UNSUBSCRIBE: False,
        Command.ACK: False,
        Command.NACK: False,
        Command.BEGIN: False,
        Command.COMMIT: False,
        Command.ABORT: False,
        Command.DISCONNECT: False,
    }
)
#: A server's commands, and whether each frame may have a body.
FROM_SERVER: Final[Mapping[str, bool]] = MappingProxyType(
    {Command.CONNECTED: False, Command.MESSAGE: True, Command.RECEIPT: False, Command.ERROR: True}
)
#: The commands of both sides whose frames may have a body.
WITH_BODY: Final = frozenset(c for side in (FROM_CLIENT, FROM_SERVER) for c, body in side.items() if body)
#: The two names of the login command (STOMP 1.1, "CONNECT or STOMP Frame").
LOGIN_COMMANDS: Final = frozenset({Command.CONNECT, Command.STOMP})
#: Frames whose headers are never escaped, so that peers of all versions can read them (STOMP 1.2, "Value Encoding").
UNESCAPED: Final = LOGIN_COMMANDS | {Command.CONNECTED}
#: The length of the longest command.
LONGEST_COMMAND: Final = max(map(len, (*FROM_CLIENT, *FROM_SERVER)))


class Header:
    """The names of the headers on the wire; the last three are airyd's own."""

    ACCEPT_VERSION: Final = "accept-version"
    ACK: Final = "ack"
    CONTENT_LENGTH: Final = "content-length"
    CONTENT_TYPE: Final = "content-type"
    DESTINATION: Final = "destination"
    HEART_BEAT: Final = "heart-beat"
    HOST: Final = "host"
    ID: Final = "id"
    LOGIN: Final = "login"
    MESSAGE: Final = "message"
    MESSAGE_ID: Final = "message-id"
    PASSCODE: Final = "passcode"
    RECEIPT: Final = "receipt"
    RECEIPT_ID: Final = "receipt-id"
    SERVER: Final = "server"
    SESSION: Final = "session"
    SUBSCRIPTION: Final = "subscription"
    TRANSACTION: Final = "transaction"
    VERSION: Final = "version"

    #: SUBSCRIBE: resume after this event; RECEIPT of a SUBSCRIBE: the position from which it is live.
    LAST_MESSAGE_ID: Final = "last-message-id"
    #: RECEIPT of a SUBSCRIBE that resumes: ``true`` or ``false``.
    RECOVERED: Final = "recovered"
    #: SUBSCRIBE: the most unacknowledged messages that may be in flight.
    PREFETCH_COUNT: Final = "prefetch-count"


class Rules(NamedTuple):
    """The rules of one STOMP version, as far as they differ between versions.

    :ivar subprotocol: the version's name in the WebSocket opening handshake
    :ivar escapes: the characters that headers escape, each with its escape
    :ivar trims_headers: whether spaces around header names and values are removed
    :ivar crlf: whether a CR before an LF always ends a line and any other CR in a header is a fault; if not, a CR
        may be data (1.0 trims it like a space)
    :ivar heart_beats: whether heart-beats exist
    :ivar nack: whether NACK exists
    :ivar needs_subscription_id: whether SUBSCRIBE and UNSUBSCRIBE must have an ``id``
    :ivar refuses_stray_bodies: whether a body is a fault on a frame that must have none; if not, the body is ignored
    """

    subprotocol: str
    escapes: Mapping[str, str]
    trims_headers: bool
    crlf: bool
    heart_beats: bool
    nack: bool
    needs_subscription_id: bool
    refuses_stray_bodies: bool


class Version(Enum):
    """The versions of STOMP, oldest first; the value is the name on the wire."""

    V1_0 = "1.0"
    V1_1 = "1.1"
    V1_2 = "1.2"

    __hash__ = object.__hash__  # a part of the keys of caches; Enum's own is written in Python

    #: The rules of this version, as far as they differ between versions.
    rules: Rules


_RULES: Final[Mapping[Version, Rules]] = {
    Version.V1_0: Rules(
        subprotocol="v10.stomp",
        escapes={},
        trims_headers=True,
        crlf=False,
        heart_beats=False,
        nack=False,
        needs_subscription_id=False,
        refuses_stray_bodies=False,
    ),
    Version.V1_1: Rules(
        subprotocol="v11.stomp",
        escapes={"\\": r"\\", "\n": r"\n", ":": r"\c"},
        trims_headers=False,
        crlf=False,
        heart_beats=True,
        nack=True,
        needs_subscription_id=True,
        refuses_stray_bodies=True,
    ),
    Version.V1_2: Rules(
        subprotocol="v12.stomp",
        escapes={"\\": r"\\", "\n": r"\n", "\r": r"\r", ":": r"\c"},
        trims_headers=False,
        crlf=True,
        heart_beats=True,
        nack=True,
        needs_subscription_id=True,
        refuses_stray_bodies=True,
    ),
}

for _version, _rules in _RULES.items():
    _version.rules = _rules

#: The ``version`` header of the ERROR for a client that shares no version with the server.
ALL_VERSIONS: Final = ",".join(version.value for version in Version)


@lru_cache(maxsize=32)  # called twice for each CONNECT, and most clients send the same header
def negotiate_version(accept_version: str | None) -> Version | None:
    """Return the newest supported version in an ``accept-version`` header, or None if there is none.

    No header means 1.0 (STOMP 1.2, "Protocol Negotiation").
    """
    if accept_version is None:
        return Version.V1_0
    offered = {text.strip() for text in accept_version.split(",")}
    return next((version for version in reversed(Version) if version.value in offered), None)


# A character without an escape would end the line or, for some parsers, the frame. It becomes a space:
# a slightly wrong header is better than a broken stream.
_UNREPRESENTABLE: Final = {"\n": " ", "\r": " ", "\0": " "}
_PLAIN: Final = str.maketrans(_UNREPRESENTABLE)
_ENCODE: Final[Mapping[Version, dict[int, str]]] = {
    Version.V1_0: _PLAIN,
    # In 1.1 a CR is ordinary data without an escape.
    Version.V1_1: str.maketrans({"\0": " ", **_RULES[Version.V1_1].escapes}),
    Version.V1_2: str.maketrans({"\0": " ", **_RULES[Version.V1_2].escapes}),
}
_DECODE: Final[Mapping[Version, Mapping[str, str]]] = {
    version: {escape: character for character, escape in rules.escapes.items()} for version, rules in _RULES.items()
}
_ESCAPE: Final = re.compile(r"\\.?", re.DOTALL)


def escape(text: str, version: Version | None) -> str:
    """Escape a header name or value (STOMP 1.2, "Value Encoding").

    ``None`` is the version for frames that are never escaped. A character without an escape becomes a space.
    """
    return text.translate(_PLAIN if version is None else _ENCODE[version])


def unescape(text: str, version: Version) -> str:
    """Undo :func:`escape`.

    Raises ``ValueError`` for an escape that the version doesn't define. Version 1.0 defines none: a
    backslash stands for itself.
    """
    decode = _DECODE[version]
    if not decode or "\\" not in text:
        return text

    def character(match: re.Match[str]) -> str:
        sequence = match.group()
        if sequence not in decode:
            raise ValueError(f'"{sequence}" is not an escape of STOMP {version.value}')
        return decode[sequence]

    return _ESCAPE.sub(character, text)


class AckMode(Enum):
    """How a subscription's messages are acknowledged (STOMP 1.2, "SUBSCRIBE ack Header")."""

    AUTO = "auto"
    CLIENT = "client"
    CLIENT_INDIVIDUAL = "client-individual"


#: A ``prefetch-count`` header.
PREFETCH_COUNT: Final = re.compile(r"0*[1-9][0-9]{0,17}\Z")
#: The ``ack`` header of a MESSAGE.
ACK_ID: Final = re.compile(r"(0|[1-9][0-9]{0,17})-(.+)\Z", re.DOTALL)


def ack_id(ordinal: int, message_id: str) -> str:
    """Return the ``ack`` header of a MESSAGE (STOMP 1.2, "MESSAGE").

    ``ordinal`` is the subscription's number on its connection.
    """
    return f"{ordinal}-{message_id}"


def parse_ack_id(text: str) -> tuple[int, str] | None:
    """Return the ``(ordinal, message-id)`` that :func:`ack_id` was given, or None for any other text."""
    match = ACK_ID.match(text)
    return match and (int(match[1]), match[2])


#: A ``heart-beat`` header.
HEART_BEAT: Final = re.compile(r" *([0-9]{1,10}) *, *([0-9]{1,10}) *\Z")


class HeartBeat(NamedTuple):
    """The ``heart-beat`` header of one side, in milliseconds; 0 means never (STOMP 1.2, "Heart-beating").

    :ivar sends: the shortest interval at which it can send heart-beats
    :ivar wants: the interval at which it wants to receive heart-beats
    """

    sends: int
    wants: int

    @classmethod
    @lru_cache(maxsize=32)  # most clients send the same
    def parse(cls, text: str) -> HeartBeat:
        """Parse a header's value.

        Raises ``ValueError`` unless it is two decimal numbers with a comma between.
        """
        match = HEART_BEAT.match(text)
        if match is None:
            raise ValueError("a heart-beat is two numbers of milliseconds with a comma between, such as 30000,30000")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.sends},{self.wants}"


@lru_cache(maxsize=32)  # each client keeps the result, 112 bytes; equal headers share one
def negotiate_heart_beat(server: HeartBeat, client: HeartBeat) -> tuple[int, int]:
    """Return ``(send_every, expect_every)`` for the server, in milliseconds (STOMP 1.2, "Heart-beating").

    A direction is off (0) if its sender can't send or its receiver doesn't want heart-beats.
    """
    send_every = max(server.sends, client.wants) if server.sends and client.wants else 0
    expect_every = max(client.sends, server.wants) if client.sends and server.wants else 0
    return send_every, expect_every
