"""The short way to read a request gives the results of the ordinary way."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.limits import Limits
from airyd.stomp import session as session_module
from airyd.stomp.requests import Connect, Request, Subscribe, Violation
from airyd.stomp.session import Session
from airyd.stomp.spec import HeartBeat, Version
from airyd.stomp.state import State
from airyd.stomp.usual_requests import MOST_BYTES, MOST_REQUESTS, UsualRequests
from tests.stomp.wire import SMALL, WISH, connect, subscribe

V1_0, V1_1, V1_2 = Version
SECRET = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2VjcmV0"

CONNECTS = (
    *(connect(version) for version in Version),
    connect(V1_2, "host:airy", "heart-beat:10000,10000"),
    connect(V1_1, "host:airy", "heart-beat:0,0"),
    connect(V1_2, f"Authorization:Bearer {SECRET}"),
    connect(V1_2, "Authorization:Bearer other", "host:airy"),
    connect(V1_2, f"authorization:{SECRET}"),
    connect(V1_2, f"passcode:{SECRET}"),
    connect(V1_0, f"passcode:{SECRET}"),
    connect(V1_0, f"Authorization: {SECRET} "),
    connect(V1_2, "Authorization:"),
    connect(V1_2, "Authorization: "),
    connect(V1_2, f"Authorization:{SECRET}", f"passcode:{SECRET}x"),
    connect(V1_2, f"Authorization:{SECRET}", f"Authorization:{SECRET}x"),
    connect(V1_2, "Authorization:", f"Authorization:{SECRET}"),
    connect(V1_2, f"Authorization:{SECRET}\\c"),
    connect(V1_2, f"Authorization:{SECRET}\r"),
    connect(V1_2, "Authorization:ä"),
    connect(V1_2, f"login:ann\npasscode:{SECRET}"),
    connect(V1_2, "login:ann"),
    connect(V1_2, f"X-Token:{SECRET}"),
    connect(V1_2, "receipt:r"),
    connect(V1_2, f"Authorization:{'x' * 5000}"),
    connect(V1_2, f"host:{'x' * 50}"),
    connect(V1_2) + b"\n",
    b"\n" + connect(V1_2),
    connect(V1_2) + subscribe("0"),
    connect(V1_2).replace(b"\n", b"\r\n"),
    connect(V1_2).replace(b"CONNECT", b"STOMP"),
    connect(V1_2).replace(b"1.2", b"9"),
    connect(V1_2, "heart-beat:x"),
    connect(V1_2)[:-1],
    connect(V1_2)[:-1] + b"body\0",
)
FRAMES = (
    b"",
    b"\n",
    subscribe("0"),
    subscribe("0", "ack:auto"),
    subscribe("0", "receipt:r"),
    subscribe("1", "receipt:r"),
    subscribe("1", "ack:client"),
    subscribe("1", "ack:wrong"),
    subscribe("2", "last-message-id:1-2", "prefetch-count:3"),
    subscribe("0") + subscribe("1"),
    subscribe("0") + subscribe("1") + subscribe("2", "receipt:last"),
    subscribe("1") + subscribe("0"),
    subscribe("0") + subscribe("0"),
    subscribe("0") + b"\n",
    subscribe("0")[:-1],
    subscribe("a\\c"),
    subscribe("0", f"x:{'y' * 2000}"),
    b"SUBSCRIBE\ndestination:/queue/message\n\n\0",
    b"SUBSCRIBE\nid:0\n\n\0",
    b"UNSUBSCRIBE\nid:0\n\n\0",
    b"UNSUBSCRIBE\nid:1\ndestination:/queue/message\n\n\0",
    b"SEND\ndestination:/queue/message\n\n{}\0",
    b"DISCONNECT\n\n\0",
    b"\0",
    *CONNECTS[:2],
)


class OrdinarySession(Session):
    """A session without the short way."""

    __slots__ = ()

    def _recall(self, data: bytes) -> Sequence[Request]:
        return ()

    def _remember(self, data: bytes, requests: Sequence[Request]) -> None:
        pass


def told(requests: Sequence[Request]) -> list[object]:
    """Return requests in a form that can be compared."""
    return [
        (each.error.fault, each.error.detail, each.error.receipt) if isinstance(each, Violation) else each
        for each in requests
    ]


class ShortWayTests(SynchronousTestCase):
    """Sessions with and without it agree on each chunk."""

    def setUp(self) -> None:
        """Forget what other tests let it remember."""
        self.forget()

    def forget(self) -> UsualRequests:
        usual = UsualRequests()
        patcher = patch.object(session_module, "_usual", usual)
        patcher.start()
        self.addCleanup(patcher.stop)
        return usual

    def run_one(self, session: Session, chunks: Sequence[bytes]) -> list[object]:
        """Return all that can be seen of a session that gets these chunks."""
        seen: list[object] = []
        for chunk in chunks:
            seen += [told(session.receive(chunk)), session.state, session.version, session.heart_beat]
            while session.state is State.AUTHENTICATING:
                seen += [session.accept("s-1"), session.has_held, told(session.receive(b""))]
        return seen

    def check(self, chunks: Sequence[bytes], limits: Limits, wish: HeartBeat = WISH) -> None:
        wanted = self.run_one(OrdinarySession(limits, wish), chunks)
        for _ in range(2):
            self.assertEqual(self.run_one(Session(limits, wish), chunks), wanted, chunks)

    def test_all_pairs(self) -> None:
        """Each CONNECT, then two of the other chunks; everything is remembered from one to the next."""
        limits = Limits()
        for first in CONNECTS:
            for second in FRAMES:
                for third in FRAMES:
                    self.check([first, second, third], limits)

    def test_small_limits(self) -> None:
        """What is remembered with other limits, or another wish for heart-beats, does not count."""
        large, other = Limits(), HeartBeat(0, 0)
        for first in CONNECTS:
            for second in FRAMES:
                for limits in (large, SMALL):
                    for wish in (WISH, other):
                        self.check([first, second, second], limits, wish)

    @given(st.data())
    def test_cut_anywhere(self, data: st.DataObject) -> None:
        """The bytes of several chunks, cut at any places, with any byte changed."""
        chunks = [data.draw(st.sampled_from(CONNECTS)), *data.draw(st.lists(st.sampled_from(FRAMES), max_size=4))]
        stream = bytearray(b"".join(chunks))
        if data.draw(st.booleans()):
            stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
        places = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=4)))
        cut = [bytes(stream[a:b]) for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
        limits = Limits()
        self.check(chunks, limits)
        self.check(cut, limits)

    def test_it_is_taken(self) -> None:
        """Equal bytes give the same objects, also behind different tokens."""
        limits = Limits()
        first, second = Session(limits, WISH), Session(limits, WISH)
        requests = []
        for number, session in enumerate((first, second)):
            (login,) = session.receive(connect(V1_2, f"Authorization:Bearer {number}", "host:a"))
            assert isinstance(login, Connect)
            self.assertEqual(login.headers["Authorization"], f"Bearer {number}")
            session.accept("s")
            requests.append(session.receive(subscribe("0") + subscribe("1")))
        self.assertEqual(len(requests[1]), 2)
        for one, other in zip(*requests, strict=True):
            self.assertIs(one, other)

    def test_secrets_are_not_remembered(self) -> None:
        usual = self.forget()
        for each in CONNECTS:
            self.run_one(Session(Limits(), WISH), [each])
        self.assertNotIn(SECRET.encode(), b"".join(usual.connects))
        self.assertNotIn(SECRET, str([known.request.headers for known in usual.connects.values()]))

    def test_few_are_remembered(self) -> None:
        usual = self.forget()
        limits = Limits()
        for number in range(MOST_REQUESTS + 5):
            session = Session(limits, WISH)
            session.receive(connect(V1_2, f"host:{number}"))
            session.accept("s")
            self.assertIsInstance(session.receive(subscribe(str(number)))[0], Subscribe)
        self.assertEqual((len(usual.connects), len(usual.subscribes)), (MOST_REQUESTS, MOST_REQUESTS))
        self.assertLessEqual(max(map(len, usual.connects)), MOST_BYTES)
