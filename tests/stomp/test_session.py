"""Tests of airyd.stomp.session: which frames a client may send, and how they are answered."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from airyd import __version__
from airyd.errors import Fault
from airyd.limits import HELD_DURING_LOGIN, Limits
from airyd.stomp.requests import Connect, Disconnect, Refresh, Request, Send, Subscribe, Violation
from airyd.stomp.session import Session
from airyd.stomp.spec import HeartBeat, Version
from airyd.stomp.state import State
from tests.stomp.wire import VERSIONS, WISH, connect, connected, fault, only, sent, subscribe

V1_0, V1_1, V1_2 = Version
LATER = (V1_1, V1_2)


class ConnectTests(SynchronousTestCase):
    """STOMP 1.2, "Connecting"."""

    def login(self, data: bytes) -> tuple[Session, Sequence[Request]]:
        """Return a new session and what it makes of the bytes."""
        session = Session(Limits(), WISH)
        return session, session.receive(data)

    def test_the_version_is_negotiated(self) -> None:
        for accept, version in (("1.0,1.1,1.2", V1_2), ("1.1,1.0", V1_1), ("1.0", V1_0)):
            session, requests = self.login(f"CONNECT\naccept-version:{accept}\n\n\0".encode())
            self.assertIs(only(requests, Connect).version, version)
            self.assertIs(session.version, version)

    def test_without_accept_version_it_is_1_0(self) -> None:
        session, requests = self.login(b"CONNECT\n\n\0")
        self.assertIs(only(requests, Connect).version, V1_0)
        self.assertEqual(sent(session.accept("s"), V1_0).headers["version"], "1.0")

    def test_stomp_is_connect(self) -> None:
        _, requests = self.login(b"STOMP\naccept-version:1.2\n\n\0")
        only(requests, Connect)

    def test_credentials(self) -> None:
        _, requests = self.login(b"CONNECT\nlogin:me\npasscode:a:b\\c\nAuthorization:Bearer x\n\n\0")
        request = only(requests, Connect)
        self.assertEqual((request.login, request.passcode), ("me", "a:b\\c"))
        self.assertEqual(request.headers["Authorization"], "Bearer x")

    def test_credentials_do_not_show(self) -> None:
        _, requests = self.login(b"CONNECT\npasscode:hunter2\nAuthorization:Bearer hunter2\n\n\0")
        self.assertNotIn("hunter2", repr(requests))

    def test_a_new_token_does_not_show(self) -> None:
        session = connected(V1_2)
        requests = session.receive(b"SEND\ndestination:/airyd/token\n\nhunter2\0")
        self.assertEqual(only(requests, Refresh).token, "hunter2")
        self.assertNotIn("hunter2", repr(requests))

    def test_no_host_or_any(self) -> None:
        for version in VERSIONS:
            for lines in ([], ["host:somewhere.example"]):
                _, requests = self.login(connect(version, *lines))
                only(requests, Connect)

    def test_connected(self) -> None:
        for version in VERSIONS:
            session, _ = self.login(connect(version, "heart-beat:0,0"))
            frame = sent(session.accept("session-7"), version)
            expected = {
                "version": version.value,
                "heart-beat": "30000,20000",
                "server": f"airyd/{__version__}",
                "session": "session-7",
            }
            if version is V1_0:
                del expected["heart-beat"]
            self.assertEqual((frame.command, frame.headers), ("CONNECTED", expected))

    def test_heart_beats_are_negotiated(self) -> None:
        for version in LATER:
            session, _ = self.login(connect(version, "heart-beat:10000,45000"))
            self.assertEqual(session.heart_beat, (45000, 20000))
            session, _ = self.login(connect(version))
            self.assertEqual(session.heart_beat, (0, 0))

    def test_a_1_0_client_has_no_heart_beats_whatever_it_says(self) -> None:
        for value in ("10000,45000", "nonsense"):
            session, requests = self.login(connect(V1_0, f"heart-beat:{value}"))
            only(requests, Connect)
            self.assertEqual(session.heart_beat, (0, 0))

    def test_a_malformed_heart_beat(self) -> None:
        for value in ("", "1", "1,2,3", "-1,0", "a,b"):
            _, requests = self.login(connect(V1_2, f"heart-beat:{value}"))
            self.assertIs(fault(requests), Fault.INVALID_HEADER)

    def test_no_version_in_common(self) -> None:
        session, requests = self.login(b"CONNECT\naccept-version:2.0,3.1\n\n\0")
        error = only(requests, Violation).error
        self.assertIs(error.fault, Fault.VERSION_MISMATCH)
        frame = sent(session.error(error.fault, error.detail), V1_0)
        self.assertEqual(frame.headers["version"], "1.0,1.1,1.2")
        self.assertEqual(frame.headers["message"], "no common protocol version")

    def test_anything_else_before_connect(self) -> None:
        for command in ("SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT"):
            _, requests = self.login(f"{command}\nreceipt:r-1\n\n\0".encode())
            self.assertIs(fault(requests), Fault.UNEXPECTED_COMMAND)
            self.assertEqual(requests[0].receipt, "r-1")

    def test_a_second_connect(self) -> None:
        for version in VERSIONS:
            self.assertIs(fault(connected(version).receive(connect(version))), Fault.UNEXPECTED_COMMAND)
        session, _ = self.login(connect(V1_2) * 2)
        session.accept("s")
        self.assertIs(fault(session.receive(b"")), Fault.UNEXPECTED_COMMAND)

    def test_frames_of_servers_are_unknown(self) -> None:
        for command in ("CONNECTED", "MESSAGE", "RECEIPT", "ERROR"):
            self.assertIs(fault(connected().receive(f"{command}\n\n\0".encode())), Fault.UNKNOWN_COMMAND)


class HoldingTests(SynchronousTestCase):
    """Frames that a client sends before its login is answered."""

    def test_frames_are_held_until_accept(self) -> None:
        session = Session(Limits(), WISH)
        only(session.receive(connect(V1_2) + subscribe("a")), Connect)
        self.assertEqual(session.receive(subscribe("b")[:10]), [])
        self.assertEqual(session.receive(subscribe("b")[10:] + b"\n"), [])
        session.accept("s")
        self.assertEqual([r.key for r in session.receive(b"")], [("subscription", "a"), ("subscription", "b")])
        self.assertEqual(session.receive(b""), [])

    def test_they_are_read_as_the_version_says(self) -> None:
        for version, name in ((V1_0, r"a\cb"), (V1_2, "a:b")):
            session = Session(Limits(), WISH)
            session.receive(connect(version) + subscribe(r"a\cb"))
            session.accept("s")
            self.assertEqual(only(session.receive(b""), Subscribe).id, name)

    def test_too_much(self) -> None:
        for chunks in ([b"\n" * HELD_DURING_LOGIN, b"\n"], [b"x" * (HELD_DURING_LOGIN + 1)]):
            session = Session(Limits(), WISH)
            session.receive(connect(V1_2))
            for chunk in chunks[:-1]:
                self.assertEqual(session.receive(chunk), [])
            self.assertIs(fault(session.receive(chunks[-1])), Fault.FRAME_TOO_BIG)
            self.assertEqual(session.receive(b"\n"), [])

    def test_too_much_at_once(self) -> None:
        requests = Session(Limits(), WISH).receive(connect(V1_2) + b"\n" * (HELD_DURING_LOGIN + 1))
        self.assertEqual([type(request) for request in requests], [Connect, Violation])

    def test_a_login_refused(self) -> None:
        session = Session(Limits(), WISH)
        session.receive(connect(V1_2) + subscribe("a"))
        frame = sent(session.error(Fault.UNAUTHORIZED, "The token has expired."))
        self.assertEqual(frame.headers["message"], "401 Unauthorized")
        self.assertEqual(session.receive(subscribe("b")), [])

    def test_accept_without_a_login(self) -> None:
        session = Session(Limits(), WISH)
        self.assertRaises(RuntimeError, session.accept, "s")
        session.receive(connect(V1_2))
        session.accept("s")
        self.assertRaises(RuntimeError, session.accept, "s")
        session.error(Fault.INTERNAL, "Gone.")
        self.assertRaises(RuntimeError, session.accept, "s")


class DisconnectTests(SynchronousTestCase):
    """STOMP 1.2, "DISCONNECT"."""

    def test_everything_after_it_is_ignored(self) -> None:
        session = connected()
        session.receive(subscribe("a"))
        requests = session.receive(
            b"SEND\ndestination:/a\n\n\0DISCONNECT\nreceipt:bye\n\n\0UNSUBSCRIBE\nid:a\n\n\0HELLO\n"
        )
        self.assertEqual(requests, [Send("/a", b""), Disconnect("bye")])
        self.assertEqual(session.receive(b"UNSUBSCRIBE\nid:unknown\n\n\0\xff\xff"), [])
        self.assertEqual(sent(session.receipt("bye")).headers, {"receipt-id": "bye"})

    def test_what_came_before_may_still_fail(self) -> None:
        session = connected()
        session.receive(b"DISCONNECT\n\n\0")
        self.assertEqual(sent(session.error(Fault.FORBIDDEN, "No.")).command, "ERROR")


class AnswerTests(SynchronousTestCase):
    """RECEIPT and ERROR."""

    def test_receipt(self) -> None:
        for version in VERSIONS:
            frame = sent(connected(version).receipt("r:1\\", {"recovered": "true"}), version)
            self.assertEqual(frame.command, "RECEIPT")
            self.assertEqual(frame.headers, {"receipt-id": "r:1\\", "recovered": "true"})

    def test_a_receipt_comes_back_as_it_was_sent(self) -> None:
        for version, raw in ((V1_2, rb"\cx\n\r\\ "), (V1_1, b"\\cx\\n\\\\ \r "), (V1_0, b"a:\\c\\x")):
            session = connected(version)
            request = session.receive(b"SEND\ndestination:/a\nreceipt:" + raw + b"\n\n\0")[0]
            assert request.receipt is not None
            self.assertIn(b"\nreceipt-id:" + raw + b"\n", session.receipt(request.receipt))

    def test_error(self) -> None:
        for version in VERSIONS:
            session = connected(version)
            frame = sent(session.error(Fault.FORBIDDEN, 'You may not send to "/ü".', "r-1"), version)
            self.assertEqual(frame.command, "ERROR")
            self.assertEqual(frame.body.decode(), 'You may not send to "/ü".')
            self.assertEqual(
                frame.headers,
                {
                    "message": "403 Forbidden",
                    "content-type": "text/plain",
                    "receipt-id": "r-1",
                    "content-length": str(len(frame.body)),
                },
            )
            self.assertEqual(session.receive(subscribe("a")), [])

    def test_error_without_receipt(self) -> None:
        self.assertNotIn("receipt-id", sent(connected().error(Fault.INTERNAL, "Sorry.")).headers)

    def test_error_before_connect(self) -> None:
        session = Session(Limits(), WISH)
        (request,) = session.receive(b"SEND\nreceipt:a\\c:b\n\n\0")
        assert isinstance(request, Violation)
        data = session.error(request.error.fault, request.error.detail, request.receipt)
        self.assertIn(b"\nreceipt-id:a\\c:b\n", data)

    def test_any_text_can_be_said(self) -> None:
        frame = sent(connected().error(Fault.INVALID_PAYLOAD, "lone \ud800 and NUL \0"))
        self.assertEqual(frame.body, b"lone ? and NUL \0")

    def test_state(self) -> None:
        session = Session(Limits(), HeartBeat(0, 0))
        states = [session.state]
        session.receive(connect(V1_2))
        states.append(session.state)
        session.accept("s")
        states.append(session.state)
        session.receive(b"DISCONNECT\n\n\0")
        states.append(session.state)
        session.error(Fault.INTERNAL, "Sorry.")
        states.append(session.state)
        self.assertEqual(states, list(State))


class RequestTests(SynchronousTestCase):
    """What the requests contain."""

    def test_keys(self) -> None:
        session = connected()
        data = (
            subscribe("a", "ack:client")
            + b"BEGIN\ntransaction:t\n\n\0SEND\ndestination:/a\ntransaction:t\n\n\0"
            + b"SEND\ndestination:/a\n\n\0ACK\nid:1-m\n\n\0"
            + b"COMMIT\ntransaction:t\n\n\0BEGIN\ntransaction:t\n\n\0ABORT\ntransaction:t\n\n\0"
            + b"UNSUBSCRIBE\nid:a\n\n\0DISCONNECT\n\n\0"
        )
        a, t = ("subscription", "a"), ("transaction", "t")
        self.assertEqual([r.key for r in session.receive(data)], [a, t, t, None, a, t, t, t, a, None])

    def test_keys_of_the_others(self) -> None:
        session = connected(V1_0)
        session.receive(subscribe("a", "ack:client"))
        (ack, violation) = session.receive(b"ACK\nmessage-id:m\n\n\0HELLO\n\n")
        (login,) = Session(Limits(), WISH).receive(connect(V1_2))
        self.assertEqual([r.key for r in (ack, violation, login)], [None, None, None])


class MemoryTests(SynchronousTestCase):
    """A waiting session needs little memory."""

    def test_a_session_with_four_subscriptions(self) -> None:
        data = b"".join(subscribe(f"sub-{n}", "receipt:r", destination=f"/queue/{n}") for n in range(4))
        connected().receive(data)
        sessions = []
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            session = connected()
            session.receive(data)
            sessions.append(session)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess((after - before) / len(sessions), 1024)
