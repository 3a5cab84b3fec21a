"""What ``airyd tail`` prints, says and sends, against a server in memory."""

from __future__ import annotations

from OpenSSL.SSL import Error as SSLError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError, DNSLookupError

from airyd.cli.tail import retry_policy
from airyd.cli.token import TokenUnreadable
from airyd.events import MESSAGE, UNREAD_COUNT
from tests.cli.fakes import Peer, pass_time
from tests.cli.tail_case import URL, TailTestCase, positions


class FollowTests(TailTestCase):
    """One connection."""

    def test_opening_handshake(self) -> None:
        self.start()
        request = self.server.peer.request.decode()
        self.assertIn("GET /ws.communication HTTP/1.1", request)
        self.assertIn("Host: airy.example:8080", request)
        self.assertIn("Sec-WebSocket-Protocol: v12.stomp,v11.stomp", request)

    def test_connect_and_subscribe(self) -> None:
        self.start()
        self.server.peer.open()
        (connect,) = self.server.peer.frames
        self.assertEqual("CONNECT", connect.command)
        self.assertEqual(
            {"accept-version": "1.1,1.2", "host": "airy.example", "heart-beat": "10000,10000"}, connect.headers
        )
        self.server.peer.connect()
        subscriptions = self.server.peer.subscriptions()
        self.assertEqual([MESSAGE, UNREAD_COUNT], list(subscriptions))
        for frame in subscriptions.values():
            self.assertEqual("auto", frame.headers["ack"])
            self.assertNotIn("last-message-id", frame.headers)

    def test_token(self) -> None:
        """It is looked up for each connection, since it may have been renewed."""
        tokens = iter(["one", "two", "three"])
        self.start(token=lambda: next(tokens))
        for token in ("one", "two"):
            peer = self.server.peer
            peer.open()
            (connect,) = peer.frames
            self.assertEqual(connect.headers["Authorization"], f"Bearer {token}")
            peer.drop()
            self.clock.advance(1)

    def test_unreadable_token(self) -> None:
        def unreadable() -> str:
            raise TokenUnreadable("cannot read the token file t: no")

        self.assertEqual(self.successResultOf(self.start(token=unreadable)), 1)
        self.assertEqual(self.said(), "airyd tail: cannot read the token file t: no\n")

    def test_says_when_live(self) -> None:
        """No event can be missed only after the last subscription is confirmed."""
        self.start()
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.confirm(MESSAGE, last_message_id="m-0")
        self.assertEqual("", self.said())
        peer.confirm(UNREAD_COUNT, last_message_id="u-0")
        self.assertEqual(f"airyd tail: connected to {URL}: following {MESSAGE}, {UNREAD_COUNT}\n", self.said())

    def test_prints_events(self) -> None:
        self.start()
        peer = self.live(last_message_id="x-0")
        peer.message(MESSAGE, "m-1", b'{"n": 1}')
        peer.message(UNREAD_COUNT, "u-1", b'{"n":2}')
        self.assertEqual(
            [
                {"destination": MESSAGE, "message-id": "m-1", "payload": {"n": 1}},
                {"destination": UNREAD_COUNT, "message-id": "u-1", "payload": {"n": 2}},
            ],
            self.printed(),
        )

    def test_frames_cut_anywhere(self) -> None:
        """The server's messages are a stream: several frames in one, one in several, beats between."""
        self.start()
        peer = self.live()
        message = b"MESSAGE\nsubscription:sub-0\ndestination:/queue/message\nmessage-id:%d\n\n{}\0"
        stream = b"\n".join(message % n for n in range(3))
        for start in range(0, len(stream), 7):
            peer.send_text(stream[start : start + 7])
        self.assertEqual(3, len(self.printed()))

    def test_count(self) -> None:
        """After so many events: DISCONNECT, its receipt, a clean close, status 0."""
        running = self.start(count=2)
        peer = self.live()
        for number in range(3):
            peer.message(MESSAGE, f"m-{number}", b"{}")
        self.assertEqual(2, len(self.printed()))
        disconnect = peer.frames[-1]
        self.assertEqual("DISCONNECT", disconnect.command)
        self.assertEqual([], peer.close_codes)
        peer.send("RECEIPT", receipt_id=disconnect.headers["receipt"])
        self.assertEqual([1000], peer.close_codes)
        self.assertNoResult(running)
        peer.close(1000)
        self.assertEqual(0, self.successResultOf(running))

    def test_count_without_an_answer(self) -> None:
        """A server that never answers DISCONNECT is not waited for."""
        running = self.start(count=1)
        self.live().message(MESSAGE, "m-1", b"{}")
        pass_time(self.clock, 5)
        self.assertEqual(0, self.successResultOf(running))

    def test_broken_pipe(self) -> None:
        """When standard output is closed, tail ends without a message."""
        running = self.start()
        peer = self.live()
        self.said()
        self.screen.out.broken = BrokenPipeError()
        peer.message(MESSAGE, "m-1", b"{}")
        self.assertIn("DISCONNECT", peer.commands())
        peer.send("RECEIPT", receipt_id="bye")
        peer.close(1000)
        self.assertEqual(0, self.successResultOf(running))
        self.assertEqual("", self.said())

    def test_full_disk(self) -> None:
        running = self.start()
        peer = self.live()
        self.said()
        self.screen.out.broken = OSError(28, "No space left on device")
        peer.message(MESSAGE, "m-1", b"{}")
        peer.close(1000)
        self.assertEqual(1, self.successResultOf(running))
        self.assertEqual("airyd tail: cannot write: No space left on device\n", self.said())

    def test_interrupted(self) -> None:
        """DISCONNECT is sent first, and its answer is awaited for a limited time."""
        running = self.start()
        peer = self.live()
        running.cancel()
        self.assertEqual("DISCONNECT", peer.commands()[-1])
        self.assertNoResult(running)
        pass_time(self.clock, 5)
        self.failureResultOf(running, CancelledError)

    def test_interrupted_while_opening(self) -> None:
        running = self.start()
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertFalse(self.server.peer.connected)


class ResumeTests(TailTestCase):
    """Connections that are lost, and what comes after them."""

    def reconnect(self, **receipt: str) -> Peer:
        """Lose the connection, wait, and get the next one live."""
        self.server.peer.drop(ConnectionLost())
        before = len(self.server.peers)
        self.clock.advance(1)
        self.assertEqual(before + 1, len(self.server.peers))
        self.said()
        return self.live(**receipt)

    def resumes_at(self) -> dict[str, str | None]:
        """Return where the latest connection resumes."""
        return positions(self.server.peer)

    def test_from_the_last_message(self) -> None:
        self.start()
        peer = self.live(last_message_id="x-0")
        peer.message(MESSAGE, "m-1", b"{}")
        peer.message(MESSAGE, "m-2", b"{}")
        self.reconnect(recovered="true", last_message_id="x-9")
        self.assertEqual({MESSAGE: "m-2", UNREAD_COUNT: "x-0"}, self.resumes_at())
        self.assertEqual(f"airyd tail: connected to {URL}: recovered, nothing was missed\n", self.said())

    def test_lost_again_before_the_replay(self) -> None:
        """The position in a RECEIPT that says recovered:true lies after events that are still to come."""
        self.start()
        self.live(last_message_id="x-0")
        self.reconnect(recovered="true", last_message_id="x-9")
        self.reconnect(recovered="true", last_message_id="x-9")
        self.assertEqual({MESSAGE: "x-0", UNREAD_COUNT: "x-0"}, self.resumes_at())

    def test_history_lost(self) -> None:
        self.start()
        self.live(last_message_id="x-0")
        self.reconnect(recovered="false", last_message_id="y-5")
        self.assertEqual(
            f"airyd tail: history was lost on {MESSAGE}: events may be missing before this point\n"
            f"airyd tail: history was lost on {UNREAD_COUNT}: events may be missing before this point\n"
            f"airyd tail: connected to {URL}: following {MESSAGE}, {UNREAD_COUNT}\n",
            self.said(),
        )
        self.reconnect(recovered="true")
        self.assertEqual({MESSAGE: "y-5", UNREAD_COUNT: "y-5"}, self.resumes_at())

    def test_history_lost_of_one(self) -> None:
        self.start()
        self.live(last_message_id="x-0")
        self.server.peer.drop()
        self.clock.advance(1)
        self.said()
        peer = self.server.peer
        peer.open()
        peer.connect()
        peer.confirm(MESSAGE, recovered="false", last_message_id="y-5")
        peer.confirm(UNREAD_COUNT, recovered="true", last_message_id="y-5")
        said = self.said()
        self.assertIn(f"history was lost on {MESSAGE}", said)
        self.assertNotIn(f"history was lost on {UNREAD_COUNT}", said)
        self.assertIn(f"recovered {UNREAD_COUNT}\n", said)

    def test_server_without_resume(self) -> None:
        """Recovery is claimed only if the server has proved it."""
        self.start()
        self.live().message(MESSAGE, "m-1", b"{}")
        self.reconnect()
        self.assertIn(f"history was lost on {MESSAGE}", self.said())

    def test_not_seen_is_not_passed_over(self) -> None:
        """A connection that is lost before a subscription was confirmed resumes nowhere."""
        self.start()
        self.server.peer.open()
        self.server.peer.connect()
        self.reconnect()
        self.assertEqual({MESSAGE: None, UNREAD_COUNT: None}, self.resumes_at())

    def test_standard_output_holds_events_only(self) -> None:
        self.start()
        self.live(last_message_id="x-0").message(MESSAGE, "m-1", b"{}")
        self.reconnect(recovered="false").message(MESSAGE, "m-2", b"{}")
        self.assertEqual(2, len(self.printed()))


class FailureTests(TailTestCase):
    """Reasons that are shown, and whether a retry follows."""

    def check(self, running: Deferred[int], *said: str) -> None:
        """Check that one line says why, and that another attempt follows."""
        (line,) = self.said().splitlines()
        for text in said:
            self.assertIn(text, line)
        self.assertIn("trying again in 1.0 s", line)
        self.assertNoResult(running)
        attempts = self.server.attempts
        self.clock.advance(1)
        self.assertEqual(attempts + 1, self.server.attempts)

    def check_over(self, running: Deferred[int], *said: str) -> None:
        """Check that one line says why, and that tail has ended with status 1."""
        (line,) = self.said().splitlines()
        for text in said:
            self.assertIn(text, line)
        self.assertEqual(1, self.successResultOf(running))

    def error(self, message: str, body: bytes = b"") -> Deferred[int]:
        """Let the server end a live connection with an ERROR."""
        running = self.start()
        peer = self.live()
        self.said()
        peer.send("ERROR", body, message=message)
        peer.close(1008)
        return running

    def test_cannot_connect(self) -> None:
        self.server.refusal = ConnectionRefusedError()
        running = self.start()
        self.check(running, f"cannot connect to {URL}: ")

    def test_waits_longer_each_time(self) -> None:
        policy = retry_policy(jitter=lambda: 0.25)
        self.assertEqual([0.75, 1.25, 2.25, 4.25], [policy(n) for n in range(4)])
        self.assertEqual(10.25, policy(1000))

    def test_wrong_path(self) -> None:
        self.server.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        running = self.start()
        self.server.peer.open()
        self.check_over(running, "404 Not Found")

    def test_reason_of_a_refusal(self) -> None:
        """The first line of what the server says, harmless for a terminal; the server need not end the connection."""
        self.server.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 19\r\n\r\nThis \x1b[2J origin.\nx"
        running = self.start()
        self.server.peer.open()
        self.assertFalse(self.server.peer.connected)
        self.check_over(running, r"the server opens no WebSocket: 403 Forbidden: This \x1b[2J origin")

    def test_refusal_without_an_end(self) -> None:
        """On a time-out, the part of the body that has arrived is shown."""
        self.server.answer = b"HTTP/1.1 404 Not Found\r\n\r\nConnect to /other."
        running = self.start()
        self.server.peer.open()
        self.assertNoResult(running)
        pass_time(self.clock, 10)
        self.check_over(running, "404 Not Found: Connect to /other")

    def test_refusal_that_is_cut(self) -> None:
        self.server.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\nConnect to /oth"
        running = self.start()
        self.server.peer.open()
        self.server.peer.drop()
        self.check_over(running, "404 Not Found: Connect to /oth")

    def test_not_http(self) -> None:
        self.server.answer = b"SSH-2.0-OpenSSH\r\n"
        running = self.start()
        self.server.peer.open()
        self.check_over(running, "the server does not speak HTTP on this port: it says 'SSH-2.0-OpenSSH'")

    def test_tls_port(self) -> None:
        """A server with TLS usually closes a plain connection without a response."""
        running = self.start()
        self.server.peer.drop()
        self.check(running, "closed the connection without an answer; if it speaks TLS on this port, use wss://")

    def test_handshake_that_is_wrong(self) -> None:
        for answer in (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            b"HTTP/1.1 101 \xff\r\n\r\n",
        ):
            self.server.answer = answer
            running = self.start()
            self.server.peer.open()
            self.check_over(running, "the server's opening handshake is wrong")

    def test_name_that_cannot_be_resolved(self) -> None:
        self.server.refusal = DNSLookupError("no results")
        self.check(self.start(), "the name airy.example cannot be resolved")

    def test_server_is_starting(self) -> None:
        self.server.answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        running = self.start()
        self.server.peer.open()
        self.check(running, "503 ")

    def test_restart(self) -> None:
        running = self.start()
        peer = self.live()
        self.said()
        peer.close(1012, "server restarting")
        self.check(running, "1012 server restarting")

    def test_close_code_without_words(self) -> None:
        running = self.start()
        peer = self.live()
        self.said()
        peer.close(1013)
        self.check(running, "1013 try again)")

    def test_connection_lost(self) -> None:
        running = self.start()
        peer = self.live()
        self.said()
        peer.drop(ConnectionLost())
        self.check(running, "connection lost")

    def test_certificate(self) -> None:
        running = self.start()
        self.server.peer.drop(SSLError([("SSL routines", "", "certificate verify failed")]))
        self.check(running, "connection lost: certificate verify failed;")

    def test_login_failed(self) -> None:
        self.check_over(self.error("401 Unauthorized"), "airyd tail: 401 Unauthorized")

    def test_unknown_destination(self) -> None:
        self.check_over(
            self.error("unknown destination", b"/queue/nowhere is not served."), "/queue/nowhere is not served."
        )

    def test_too_slow(self) -> None:
        """After any other ERROR, a retry may succeed."""
        self.check(self.error("client too slow", b"2 MiB wait.\nMore."), "client too slow: 2 MiB wait;")

    def test_error_that_would_play_with_the_terminal(self) -> None:
        self.error("client too slow", b"\x1b[2J")
        self.assertIn(r"client too slow: \x1b[2J;", self.said())

    def test_handshake_takes_too_long(self) -> None:
        running = self.start()
        pass_time(self.clock, 10)
        self.assertFalse(self.server.peer.connected)
        self.check(running, "did not answer in time")

    def test_connected_takes_too_long(self) -> None:
        """One clock covers the handshake and CONNECT."""
        running = self.start()
        pass_time(self.clock, 6)
        self.server.peer.open()
        pass_time(self.clock, 4)
        self.check(running, "did not answer in time")

    def test_not_stomp(self) -> None:
        running = self.start()
        peer = self.server.peer
        peer.open()
        peer.send_text(b"HELLO\n\n\0")
        peer.drop()
        self.check(running, "not STOMP")

    def test_out_of_turn(self) -> None:
        running = self.start()
        peer = self.server.peer
        peer.open()
        peer.send("MESSAGE", b"{}", subscription="sub-0", message_id="1", destination=MESSAGE)
        self.assertEqual([1000], peer.close_codes)
        peer.drop()
        self.check(running, "MESSAGE when it must not")

    def test_not_websocket(self) -> None:
        """A masked frame from a server: the close code says so, and its answer is not waited for long."""
        running = self.start()
        peer = self.live()
        self.said()
        peer.send_raw(b"\x81\x80abcd")
        self.assertEqual([1002], peer.close_codes)
        pass_time(self.clock, 5)
        self.assertFalse(peer.connected)
        self.assertNoResult(running)
        self.assertIn("breaks the rules of WebSocket; trying again", self.said())

    def test_closes_and_stays(self) -> None:
        """tail drops the connection if the server sends its close frame and never drops it."""
        self.start()
        peer = self.live()
        self.said()
        peer.send_raw(b"\x88\x02" + (1012).to_bytes(2, "big"))
        self.assertTrue(peer.connected)
        pass_time(self.clock, 5)
        self.assertFalse(peer.connected)
        self.assertIn("1012 restarting", self.said())

    def test_interrupted_while_closing(self) -> None:
        """If the server has begun to close, no DISCONNECT is sent."""
        running = self.start()
        peer = self.live()
        peer.send_raw(b"\x88\x02" + (1012).to_bytes(2, "big"))
        running.cancel()
        self.assertNotIn("DISCONNECT", peer.commands())
        pass_time(self.clock, 5)
        self.failureResultOf(running, CancelledError)

    def test_heart_beats_end_with_the_connection(self) -> None:
        self.start()
        peer = self.server.peer
        peer.open()
        peer.connect("1000,1000")
        peer.send("ERROR", message="internal error")
        pass_time(self.clock, 60)
        self.assertEqual(0, peer.beats)

    def test_error_and_no_close(self) -> None:
        """tail closes the connection of a server that does not close after an ERROR."""
        running = self.start()
        peer = self.live()
        self.said()
        peer.send("ERROR", message="internal error")
        pass_time(self.clock, 5)
        self.assertFalse(peer.connected)
        self.assertNoResult(running)
        self.assertIn("internal error; trying again", self.said())


class HeartBeatTests(TailTestCase):
    """Both directions (STOMP 1.2, "Heart-beating")."""

    def live_with(self, heart_beat: str) -> Peer:
        peer = self.server.peer
        peer.open()
        peer.connect(heart_beat)
        peer.confirm_all()
        self.said()
        return peer

    def test_sent_as_agreed(self) -> None:
        self.start()
        peer = self.live_with("0,30000")
        pass_time(self.clock, 29)
        self.assertEqual(0, peer.beats)
        pass_time(self.clock, 31)
        self.assertEqual(2, peer.beats)

    def test_not_wanted(self) -> None:
        self.start()
        peer = self.live_with("0,0")
        pass_time(self.clock, 300)
        self.assertEqual(0, peer.beats)
        self.assertTrue(peer.connected)

    def test_silence(self) -> None:
        """Twice the agreed interval without a byte, and the connection is given up."""
        self.start()
        peer = self.live_with("10000,0")
        pass_time(self.clock, 19)
        self.assertTrue(peer.connected)
        pass_time(self.clock, 1)
        self.assertFalse(peer.connected)
        self.assertIn("nothing came from the server for 20 s; trying again", self.said())

    def test_any_byte_is_a_sign_of_life(self) -> None:
        self.start()
        peer = self.live_with("10000,0")
        for _ in range(10):
            pass_time(self.clock, 15)
            peer.send_text(b"\n")
        self.assertTrue(peer.connected)
