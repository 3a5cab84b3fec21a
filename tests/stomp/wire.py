"""What the STOMP tests share: sessions in a given state, strategies, and functions that cut bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

from airyd.errors import Fault, StompError
from airyd.limits import Limits
from airyd.stomp.frames import Frame
from airyd.stomp.parser import Parser
from airyd.stomp.requests import Request, Violation
from airyd.stomp.session import Session
from airyd.stomp.spec import FROM_CLIENT, FROM_SERVER, HeartBeat, Version

#: Small bounds, so that tests can reach them.
SMALL = Limits(
    connect_frame=200,
    frame=400,
    body=100,
    headers=5,
    header_line=60,
    subscriptions=3,
    transactions=2,
    transaction_bytes=700,
    token_size=40,
)
WISH = HeartBeat(30000, 20000)
VERSIONS = tuple(Version)

_R = TypeVar("_R", bound=Request)


def connect(version: Version, *lines: str) -> bytes:
    """Return a CONNECT frame that asks for one version, with further header lines."""
    return "\n".join(["CONNECT", f"accept-version:{version.value}", *lines, "", "\0"]).encode()


def subscribe(subscription_id: str, *lines: str, destination: str = "/queue/message") -> bytes:
    """Return a SUBSCRIBE frame."""
    return "\n".join(["SUBSCRIBE", f"id:{subscription_id}", f"destination:{destination}", *lines, "", "\0"]).encode()


def connected(version: Version = Version.V1_2, limits: Limits | None = None) -> Session:
    """Return a session that is CONNECTED."""
    session = Session(limits or Limits(), WISH)
    session.receive(connect(version))
    session.accept("session-1")
    return session


def parser(version: Version = Version.V1_2, limits: Limits | None = None) -> Parser:
    """Return a parser of a client's frames after CONNECTED."""
    made = Parser(limits or Limits(), FROM_CLIENT)
    made.connected(version)
    return made


def frames(parser: Parser, *chunks: bytes) -> list[Frame | StompError]:
    """Return the frames in the chunks; a fault is the last item."""
    found: list[Frame | StompError] = []
    for chunk in chunks:
        parser.feed(chunk)
        try:
            while (frame := parser.next_frame()) is not None:
                found.append(frame)
        except StompError as error:
            found.append(error)
    return found


def sent(data: bytes, version: Version = Version.V1_2) -> Frame:
    """Return the one frame that the server sent."""
    reader = Parser(Limits(), FROM_SERVER)
    reader.connected(version)
    (frame,) = frames(reader, data)
    assert isinstance(frame, Frame), frame
    return frame


def only(requests: Sequence[Request], kind: type[_R]) -> _R:
    """Return the only request, which must be of this kind."""
    (request,) = requests
    assert isinstance(request, kind), request
    return request


def fault(requests: Sequence[Request]) -> Fault:
    """Return the fault of the only request, which must be a violation."""
    return only(requests, Violation).error.fault


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """Cut bytes at these places; places outside are taken modulo the length."""
    places = sorted({place % (len(data) + 1) for place in at} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def one_by_one(data: bytes) -> list[bytes]:
    """Cut bytes into single ones."""
    return [data[i : i + 1] for i in range(len(data))]


#: Where to cut a stream.
cuts = st.lists(st.integers(0, 10_000), max_size=40)
#: Header text that every version can carry unchanged: no line ends, no NUL, no padding.
plain_text = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=20).map(
    lambda text: text.strip(" \t")
)
#: Header text with what must be escaped.
any_text = st.text(
    st.one_of(st.sampled_from("\\:\n\r ncr"), st.characters(codec="utf-8", exclude_characters="\0\r\n")),
    max_size=20,
)
