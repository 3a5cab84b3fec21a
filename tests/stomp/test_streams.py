"""Whole conversations with a session: real clients' bytes, bytes cut anywhere, and bytes that are nonsense."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import StompError
from airyd.limits import Limits
from airyd.stomp.requests import Connect, Disconnect, Request, Subscribe, Unsubscribe, Violation
from airyd.stomp.session import Session
from airyd.stomp.spec import AckMode, Version
from airyd.stomp.state import State
from tests.stomp.wire import SMALL, VERSIONS, WISH, connect, connected, cut, cuts, one_by_one, sent

AIRY = ("/queue/message", "/queue/unread-count", "/queue/channel/connected", "/queue/channel/disconnected")


class AiryTests(SynchronousTestCase):
    """The frames of Airy's client, on @stomp/stompjs."""

    def test_from_connect_to_leaving(self) -> None:
        session = Session(Limits(), WISH)
        (login,) = session.receive(
            b"CONNECT\nAuthorization:Bearer aaa.bbb.ccc\naccept-version:1.0,1.1,1.2\nheart-beat:30000,30000\n\n\0"
        )
        assert isinstance(login, Connect)
        self.assertEqual(login.headers["Authorization"], "Bearer aaa.bbb.ccc")
        self.assertIsNone(login.login)
        self.assertEqual(sent(session.accept("s")).headers["version"], "1.2")
        self.assertEqual(session.heart_beat, (30000, 30000))
        for number, destination in enumerate(AIRY):
            (request,) = session.receive(f"SUBSCRIBE\nid:sub-{number}\ndestination:{destination}\n\n\0".encode())
            assert isinstance(request, Subscribe)
            self.assertEqual(
                (request.id, request.destination, request.ack, request.ordinal),
                (f"sub-{number}", destination, AckMode.AUTO, number + 1),
            )
        self.assertEqual(session.receive(b"\n"), [])
        self.assertEqual(session.receive(b"UNSUBSCRIBE\nid:sub-0\n\n\0"), [Unsubscribe("sub-0")])
        self.assertEqual(session.receive(b"DISCONNECT\nreceipt:close-1\n\n\0"), [Disconnect("close-1")])
        self.assertEqual(session.receipt("close-1"), b"RECEIPT\nreceipt-id:close-1\n\n\0")
        for number in range(4):
            self.assertEqual(session.receive(f"UNSUBSCRIBE\nid:sub-{number}\n\n\0".encode()), [])

    def test_heart_beats_between_and_inside_chunks(self) -> None:
        session = connected()
        chunks = [b"\n", b"\n\nBEGIN\ntransac", b"tion:1\n", b"\n\0\n", b"\r\n", b"ABORT\ntransaction:1\n\n\0\n\n"]
        requests = [request for chunk in chunks for request in session.receive(chunk)]
        self.assertEqual([request.key for request in requests], [("transaction", "1")] * 2)


def frame(command: str, *headers: str, body: str = "") -> bytes:
    """Return a frame's bytes."""
    return "\n".join([command, *headers, "", f"{body}\0"]).encode()


#: Frames, some of which are valid after one another, so that many random streams get past the first frame.
_frames = st.one_of(
    st.builds(
        frame,
        st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "SEND", "BEGIN", "COMMIT", "ABORT"]),
        st.sampled_from(["id:a", "id:b", "id:1-m", "id:2-m", "message-id:m"]),
        st.sampled_from(["destination:/a", "destination:/b", "subscription:a", "x:\\c"]),
        st.sampled_from(["transaction:t", "transaction:u", "ack:client", "ack:auto", "receipt:r"]),
    ),
    st.builds(
        frame,
        st.just("SEND"),
        st.just("destination:/a"),
        st.sampled_from(["receipt:r", "transaction:t", "content-length:3", "content-length:-1"]),
        body=st.sampled_from(["", "abc", "ü€😀", "x" * 101]),
    ),
    st.sampled_from([b"\n", b"\r\n", b"DISCONNECT\n\n\0", b"CONNECT\n\n\0", b"HELLO\n\n\0", b"\0", b"SUBSCR"]),
)
_streams = st.lists(_frames, max_size=12).map(b"".join)


def converse(chunks: list[bytes], limits: Limits = SMALL) -> list[object]:
    """Return what a session makes of a connection's bytes when every login is accepted at once."""
    session = Session(limits, WISH)
    requests: list[Request] = []
    for chunk in chunks:
        requests += session.receive(chunk)
        if session.state is State.AUTHENTICATING:
            session.accept("s")
            requests += session.receive(b"")
    return [_comparable(request) for request in requests]


def _comparable(request: Request) -> object:
    if isinstance(request, Violation):
        error: StompError = request.error
        return (error.fault, error.detail, error.receipt)
    return request


class CutTests(SynchronousTestCase):
    """A byte stream gives the same requests however it is cut; a fault is the last of them."""

    @given(st.sampled_from(VERSIONS), _streams, cuts)
    @example(Version.V1_1, b"SEND\ndestination:/a\nreceipt:r\ncontent-length:-1\n\n\0", [3, 40])
    def test_cut_anywhere(self, version: Version, stream: bytes, at: list[int]) -> None:
        data = connect(version) + stream
        whole = converse([data])
        self.assertEqual(converse(cut(data, at)), whole)
        self.assertEqual(converse(one_by_one(data)), whole)
        self.assertNotIn(tuple, map(type, whole[:-1]))

    @given(st.sampled_from(VERSIONS), _streams, _streams)
    def test_nothing_follows_a_fault_or_a_disconnect(self, version: Version, stream: bytes, more: bytes) -> None:
        session = connected(version, SMALL)
        requests = session.receive(stream)
        if requests and isinstance(requests[-1], Violation | Disconnect):
            self.assertEqual(session.receive(more), [])
        for request in requests[:-1]:
            self.assertNotIsInstance(request, Violation | Disconnect)


class NonsenseTests(SynchronousTestCase):
    """Arbitrary bytes never raise an exception, and every fault can be answered."""

    @given(st.binary(max_size=200), cuts)
    def test_before_connect(self, data: bytes, at: list[int]) -> None:
        self.survive(Session(SMALL, WISH), cut(data, at))

    @given(st.sampled_from(VERSIONS), st.binary(max_size=200), cuts)
    def test_after_connected(self, version: Version, data: bytes, at: list[int]) -> None:
        self.survive(connected(version, SMALL), cut(data, at))

    @given(
        st.sampled_from(VERSIONS), _streams, st.lists(st.tuples(st.integers(0, 999), st.binary(max_size=3)), max_size=5)
    )
    def test_frames_with_a_few_bytes_changed(
        self, version: Version, stream: bytes, changes: list[tuple[int, bytes]]
    ) -> None:
        for place, piece in changes:
            place %= len(stream) + 1
            stream = stream[:place] + piece + stream[place + 1 :]
        self.survive(connected(version, SMALL), [stream])

    def survive(self, session: Session, chunks: list[bytes]) -> None:
        """See to it that the chunks are read or refused, and that a fault has its ERROR."""
        requests = [request for chunk in chunks for request in session.receive(chunk)]
        for request in requests:
            if request.receipt is not None and not isinstance(request, Violation):
                self.assertEqual(sent(session.receipt(request.receipt), session.version).command, "RECEIPT")
        if requests and isinstance(requests[-1], Violation):
            error = requests[-1].error
            frame = sent(session.error(error.fault, error.detail, error.receipt), session.version)
            self.assertEqual(frame.headers["message"], error.fault.message)
            self.assertNotEqual(frame.body, b"")
