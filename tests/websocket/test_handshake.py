"""The opening handshake (RFC 6455, section 4.2): which requests are accepted, and how others are refused."""

from __future__ import annotations

from airyd.interfaces import NO_OPENING, Opening
from airyd.limits import Limits
from tests.doubles import record_log, text_of
from tests.websocket.case import CONNECT, PATH, WebSocketTestCase, close_frame, request


class UpgradeTests(WebSocketTestCase):
    """Which requests are accepted."""

    def test_answer(self) -> None:
        status, headers, body, peer = self.ask(request())
        self.assertEqual((status, body), (101, ""))
        self.assertEqual(headers["upgrade"].lower(), "websocket")
        self.assertEqual(headers["connection"].lower(), "upgrade")
        self.assertEqual(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        self.assertNotIn("sec-websocket-protocol", headers)
        self.assertNotIn("autobahn", str(headers).lower())
        peer.lose()

    def test_best_subprotocol(self) -> None:
        for offered, chosen in (
            ("v10.stomp, v11.stomp, v12.stomp", "v12.stomp"),
            ("v12.stomp,v10.stomp", "v12.stomp"),
            ("v10.stomp,v11.stomp", "v11.stomp"),
            ("mqtt,v10.stomp", "v10.stomp"),
        ):
            status, headers, _, _ = self.ask(request(Sec_WebSocket_Protocol=offered))
            self.assertEqual((status, headers["sec-websocket-protocol"]), (101, chosen))

    def test_unknown_subprotocol(self) -> None:
        status, _, body, _ = self.ask(request(Sec_WebSocket_Protocol="mqtt"))
        self.assertEqual(status, 400)
        self.assertIn("v12.stomp", body)

    def test_compression_is_agreed_on(self) -> None:
        """The first valid offer is accepted, and the answer repeats its parameters for the server (RFC 7692)."""
        agreed = "permessage-deflate; client_no_context_takeover"
        for offer, answer in (
            ("permessage-deflate", agreed),
            ("permessage-deflate; client_max_window_bits", agreed),
            ("x-unknown, permessage-deflate; client_max_window_bits=12", agreed),
            ("permessage-deflate;server_max_window_bits=\"10\"", f"{agreed}; server_max_window_bits=10"),
            ("permessage-deflate; x=1, permessage-deflate; server_no_context_takeover, permessage-deflate",
             f"{agreed}; server_no_context_takeover"),
        ):  # fmt: skip
            status, headers, _, _ = self.ask(request(Sec_WebSocket_Extensions=offer))
            self.assertEqual((status, headers.get("sec-websocket-extensions")), (101, answer), offer)

    def test_extensions_are_declined(self) -> None:
        """An invalid or unknown offer is declined; the connection is accepted."""
        for offer in (
            "permessage-deflate; server_max_window_bits=77",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; no_such_parameter=1",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "x-unknown; a=b, permessage-bzip2",
            ";;,,=",
        ):
            status, headers, _, _ = self.ask(request(Sec_WebSocket_Extensions=offer))
            self.assertEqual(status, 101, offer)
            self.assertNotIn("sec-websocket-extensions", headers)

    def test_split_extensions(self) -> None:
        """RFC 6455, section 9.1: one list, however many headers it is in, and however the request is cut."""
        agreed = "permessage-deflate; client_no_context_takeover"
        for headers, answer in (
            (("x-unknown", "permessage-deflate"), agreed),
            (("permessage-deflate; x=1", "", "permessage-deflate; server_max_window_bits=10"),
             f"{agreed}; server_max_window_bits=10"),
            (("permessage-deflate", "permessage-deflate; server_no_context_takeover"), agreed),
            (("x-unknown", "permessage-bzip2"), None),
        ):  # fmt: skip
            names = ("Sec-WebSocket-Extensions", "sec-websocket-extensions", "SEC-WEBSOCKET-EXTENSIONS")
            lines = [f"{name}: {value}" for name, value in zip(names, headers, strict=False)]
            asked = request(more=[lines[0], "X-Between: 1", *lines[1:]]) + CONNECT
            for cut in (0, 40, len(request()), len(asked) - len(CONNECT) - 1):
                peer = self.reach()
                peer.say(asked[:cut])
                peer.say(asked[cut:])
                status, given, body = self.answer(peer)
                self.assertEqual((status, given.get("sec-websocket-extensions")), (101, answer), headers)
                self.assertIn("CONNECTED", body)

    def test_split_extensions_past_the_head(self) -> None:
        """Bytes after the request are not part of it, whatever they look like."""
        line = b"\r\nSec-WebSocket-Extensions: permessage-deflate"
        head, end, _ = request(more=["Sec-WebSocket-Extensions: x"]).partition(b"\r\n\r\n")
        _, headers, _, peer = self.ask(head + end + line)
        self.assertNotIn("sec-websocket-extensions", headers)
        peer.lose()

    def test_compression_off(self) -> None:
        self.factory.policy = self.factory.policy._replace(compression=False)
        status, headers, _, _ = self.ask(request(Sec_WebSocket_Extensions="permessage-deflate"))
        self.assertEqual(status, 101)
        self.assertNotIn("sec-websocket-extensions", headers)

    def test_query_is_ignored_and_not_logged(self) -> None:
        events = record_log(self)
        status, _, _, peer = self.ask(request(f"{PATH}?access_token=s3cret&redirect=/x", Authorization="s3cret"))
        self.assertEqual(status, 101)
        peer.lose()
        for path in ("/wrong?t=s3cret", f"{PATH}#s3cret", "http://[s3cret", f"{PATH}?s3cret HTTP/1.1"):
            status, _, _, peer = self.ask(request(path, Cookie="s3cret"))
            self.assertGreaterEqual(status, 400)
            peer.lose()
        self.ask(request(Sec_WebSocket_Key="s3cret", Cookie="s3cret"))
        self.ask(request(Origin="http://evil.example/s3cret", Cookie="s3cret"))
        self.assertTrue(events)
        self.assertNotIn("s3cret", text_of(events))

    def test_head_and_first_frame_in_one_chunk(self) -> None:
        status, _, body, _ = self.ask(request() + CONNECT)
        self.assertEqual(status, 101)
        self.assertIn("CONNECTED", body)

    def test_in_single_bytes(self) -> None:
        peer = self.reach()
        for byte in request() + CONNECT:
            peer.say(bytes([byte]))
        self.assertEqual(self.answer(peer)[0], 101)


class TimeTests(WebSocketTestCase):
    """The time from the TCP connection to the accepted handshake."""

    def test_accepted(self) -> None:
        """A request that comes in pieces counts until it was answered."""
        peer = self.reach()
        whole = request()
        peer.say(whole[:20])
        self.loop.advance(0.75)
        peer.say(whole[20:])
        self.assertEqual((1, 0.75), (self.metrics.handshake_time.count, self.metrics.handshake_time.sum))

    def test_refused(self) -> None:
        self.ask(request(path="/nothing"))
        self.assertEqual(0, self.metrics.handshake_time.count)


class PathTests(WebSocketTestCase):
    """Several paths, which all serve the same."""

    paths = (PATH, "/ws.events", "/a%20b/.-~_!$&'()*+,=:@")

    def test_each(self) -> None:
        for path in self.paths:
            for asked in (path, f"{path}?token=x"):
                status, _, body, _ = self.ask(request(asked) + CONNECT)
                self.assertEqual(status, 101, asked)
                self.assertIn("CONNECTED", body)

    def test_another(self) -> None:
        """The answer names all paths, also to a request that isn't for a WebSocket."""
        for asked in (request("/ws"), request("/ws", Upgrade=None, Connection="close")):
            status, _, body, _ = self.ask(asked)
            self.assertEqual((status, body), (404, f"There is nothing here; connect to {' or '.join(self.paths)}\n"))

    def test_each_without_an_upgrade(self) -> None:
        for path in self.paths:
            self.assertEqual(self.ask(request(path, Upgrade=None, Connection="close"))[0], 426)


class RefusalTests(WebSocketTestCase):
    """Refusals, which a person can read."""

    def refused(self, wanted: int, request: bytes) -> dict[str, str]:
        """The request is answered with this status and a readable body, and the connection ends; return the headers."""
        before = self.metrics.handshakes_refused[wanted]
        status, headers, body, peer = self.ask(request)
        self.assertEqual(status, wanted, request)
        is_head = request.startswith(b"HEAD ")
        self.assertGreater(int(headers["content-length"]), 1)
        self.assertEqual(len(body), 0 if is_head else int(headers["content-length"]))
        self.assertTrue(headers["content-type"].startswith("text/plain"))
        self.assertEqual(bool(body.strip()), not is_head)
        self.assertEqual(self.metrics.handshakes_refused[wanted], before + 1)
        self.assertTrue(peer.socket.shut or peer.socket.closed)
        if not peer.socket.closed:
            peer.lose()
        return headers

    def test_wrong_path(self) -> None:
        """The path is compared as it is: nothing is decoded, dropped or taken for a host."""
        wrong = ("/", "/ws", f"{PATH}/", f"{PATH}2", f"/x{PATH}", f"/?{PATH}", "a:", f"//evil.example{PATH}")
        for path in (
            *wrong,
            f"{PATH};x=y",
            PATH.replace("w", "%77"),
            f"/a/..{PATH}",
            f"mailto:{PATH}",
            f"ws://airy.example{PATH}",
        ):
            self.refused(404, request(path))
        self.assertEqual(self.kinds(), {"refused": 13})

    def test_head_has_no_body(self) -> None:
        """A refused HEAD gets no body, whatever is wrong, and even if it is incomplete."""
        long = "x" * self.factory.context.limits.request_head
        self.refused(405, request(method="HEAD"))
        self.refused(400, request(method="HEAD", Host=None))
        self.refused(431, request(method="HEAD", more=[f"X: {long}"]))
        self.refused(400, b"HEAD /\0")

    def test_no_upgrade(self) -> None:
        headers = self.refused(426, request(Upgrade=None, Connection="close"))
        self.assertEqual(headers["upgrade"], "websocket")

    def test_no_upgrade_and_wrong_path(self) -> None:
        self.refused(404, request("/favicon.ico", Upgrade=None, Connection="close"))

    def test_wrong_version(self) -> None:
        for version in ("0", "8", "12", "14"):
            headers = self.refused(426, request(Sec_WebSocket_Version=version))
            self.assertEqual(headers["sec-websocket-version"], "13")

    def test_wrong_requests(self) -> None:
        for wanted, wrong in (
            (405, request(method="POST")),
            (405, request(method="HEAD")),
            (505, request(http="HTTP/1.0")),
            (400, request(Host=None)),
            (400, request(Host="a:b")),
            (400, request(Sec_WebSocket_Key=None)),
            (400, request(Sec_WebSocket_Key="short")),
            (400, request(Sec_WebSocket_Version=None)),
            (400, request(Sec_WebSocket_Version="x")),
            (400, request(Upgrade="h2c")),
            (400, request(Connection="close")),
            (400, request(Connection=None)),
            (400, request(f"{PATH}#fragment")),
            (400, request("http://[")),
            (400, b"\0\1\r\n\r\n"),
            (400, b"\r\n\r\n\r\n"),
            (400, request("*")),
            (400, request("mailto:x#y")),
            (426, request(Sec_WebSocket_Version="013")),
            (400, b"\xff\xfe\r\n\r\n"),
            (400, request(more=["Host: other"])),
            (400, request(Sec_WebSocket_Protocol="v12.stomp,v12.stomp")),
            (400, request(Sec_WebSocket_Protocol="v12.stomp", more=["Sec-WebSocket-Protocol: v12.stomp"])),
            (400, request(Sec_WebSocket_Protocol="v12.stomp, a b")),
            (400, request(Sec_WebSocket_Protocol="v12.stomp\x85")),
            (400, request(Sec_WebSocket_Protocol="")),
            (400, request(Sec_WebSocket_Extensions="permessage-deflate\x85")),
            (400, request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ")),
            (400, request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25j*Q==")),
            (400, request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==, x")),
            (400, request(Sec_WebSocket_Version="+13")),
            (400, request(Sec_WebSocket_Version="1_3")),
            (400, request(Sec_WebSocket_Version="\xb9\xb3")),
            (400, request(Upgrade="websocket\xa0")),
            (400, request(Connection="\x85Upgrade")),
            (405, request(method="get")),
        ):
            self.refused(wanted, wrong)
        self.assertEqual(self.kinds(), {"refused": 36})

    def test_body(self) -> None:
        """A request with a body is refused: a proxy would take for a body what airyd takes for WebSocket frames."""
        for line in ("Content-Length: 5", "Content-Length: 00", "Transfer-Encoding: chunked", "Transfer-Encoding: x"):
            self.refused(400, request(more=[line]) + b"0\r\n\r\n")
        self.assertEqual(self.ask(request(more=["Content-Length: 0"]))[0], 101)

    def test_reasons(self) -> None:
        """Each is one line that repeats nothing of the request but an origin; the log has the same line."""
        events = record_log(self)
        for wrong in (
            request("/s3cret"),
            request(f"{PATH}#s3cret"),
            request(method="s3cret"),
            request(http="HTTP/s3cret"),
            request(Host="s3cret@x"),
            request(Upgrade="s3cret"),
            request(Connection="s3cret"),
            request(Origin="http://evil.example/s3cret"),
            request(Sec_WebSocket_Key="s3cret"),
            request(Sec_WebSocket_Version="s3cret"),
            request(Sec_WebSocket_Protocol="s3cret"),
            request(Sec_WebSocket_Protocol="s3cret, s3cret"),
            request(more=["Content-Length: s3cret"]),
            request(more=["s3cret"]),
            request(more=["s3cret\x1b[1m: x"]),
            request(more=["Authorization: s3cret", "Authorization: s3cret"]),
        ):
            events.clear()
            status, _, body, peer = self.ask(wrong)
            self.assertGreaterEqual(status, 400, wrong)
            self.assertNotIn("s3cret", body)
            self.assertEqual((body[-1], body[:-1].isprintable()), ("\n", True), body)
            self.assertIn(f"refused with {status}: {body[:-1]}", text_of(events))
            self.assertNotIn("s3cret", text_of(events))
            peer.lose()

    def test_method_is_named(self) -> None:
        self.assertEqual(self.refused(405, request(method="POST"))["allow"], "GET")

    def test_foreign_origin(self) -> None:
        for origin in ("http://evil.example", "http://airy.example", "null", "file:///x", "http://airy.example:8080.x"):
            self.refused(403, request(Origin=origin))

    def test_bytes_of_an_origin(self) -> None:
        """All bytes are part of the origin, also those that are white space to Python."""
        for byte in ("\x85", "\xa0"):
            for origin in (f"{byte}http://airy.example:8080", f"http://airy.example:8080{byte}", f"http://airy{byte}"):
                self.refused(403, request(Origin=origin))
        for lines in (["Origin: http://airy.example:8080"] * 2, ["Origin: \x0bhttp://airy.example:8080"]):
            self.refused(400, request(more=lines))

    def test_host_of_an_absolute_target(self) -> None:
        """The host of an absolute target counts (RFC 9112, section 3.2.2)."""
        page = "https://other.example"
        self.refused(403, request(Origin=page))
        self.assertEqual(self.ask(request(f"http://other.example{PATH}?x", Origin=page))[0], 101)
        self.refused(403, request(f"http://other.example{PATH}", Origin="http://airy.example:8080"))

    def test_the_log_names_a_foreign_origin(self) -> None:
        """The log names the origin and the option that allows it; an invalid origin is not repeated."""
        for origin, option in (
            ("https://Evil.example", "--origin https://evil.example would"),
            ("null", "--origin null would"),
            ("https://evil.example/?token=s3cret", None),
        ):
            log = record_log(self)
            self.refused(403, request(Origin=origin))
            said = text_of(log)
            self.assertNotIn("s3cret", said)
            if option is not None:
                self.assertIn(f"; {option}", said)

    def test_own_origin(self) -> None:
        for origin in ("http://airy.example:8080", "https://AIRY.example:8080"):
            self.assertEqual(self.ask(request(Origin=origin))[0], 101, origin)

    def test_what_comes_after_a_refusal_is_dropped(self) -> None:
        """A client that continues to send gets the answer; the bytes it sends are dropped."""
        peer = self.reach()
        peer.say(request("/wrong") + b"x" * 1000)
        for _ in range(1000):
            peer.say(b"x" * 1000)
        self.assertEqual(self.answer(peer)[0], 404)
        (channel,) = self.factory.channels.values()
        self.assertLess(len(channel.data), 20_000)
        self.assertEqual(self.metrics.handshakes_refused, {404: 1})

    def test_nobody_waits_for_ever(self) -> None:
        """A refused client that stays connected is disconnected."""
        _, _, _, peer = self.ask(request("/wrong"))
        for _ in range(8):
            self.loop.advance(1)
        self.assertTrue(peer.socket.closed)
        self.assertEqual(self.kinds(), {"refused": 1})

    def test_too_slow(self) -> None:
        peer = self.reach()
        peer.say(request()[:-2])
        for _ in range(12):
            self.loop.advance(1)
        self.assertEqual(self.answer(peer)[0], 408)
        self.assertEqual(sum(self.metrics.errors.values()), 0, "no ERROR frame was sent")
        for _ in range(8):
            self.loop.advance(1)
        self.assertTrue(peer.socket.closed)
        self.assertEqual(self.kinds(), {"refused": 1})

    def test_gone_before_the_head_was_whole(self) -> None:
        peer = self.reach()
        peer.say(request()[:-2])
        peer.lose()
        self.assertEqual(self.kinds(), {"lost": 1})

    def test_what_is_no_head_at_all(self) -> None:
        """Bytes that can't be part of a head are refused as soon as they arrive."""
        for data in (close_frame(1000) + b"\0", b"\x16\x03\x01\x02\0", request()[:-4].replace(b"\r\n", b"\n")):
            self.refused(400, data)


class HeadLimitTests(WebSocketTestCase):
    """The limits apply while the head arrives, however it is cut."""

    limits = Limits(request_head=400, headers=12)

    def padded(self, size: int) -> bytes:
        """Return a good request of this many bytes."""
        head = request(more=["X: "])
        return head.replace(b"X: ", b"X: " + b"x" * (size - len(head)))

    def test_size(self) -> None:
        for size, status in ((399, 101), (400, 101), (401, 431), (5000, 431)):
            self.assertEqual(self.ask(self.padded(size))[0], status, size)

    def test_size_is_counted_without_what_follows(self) -> None:
        self.assertEqual(self.ask(self.padded(400) + CONNECT * 20)[0], 101)

    def test_size_however_cut(self) -> None:
        for cut in range(380, 400):
            peer = self.reach()
            peer.say(self.padded(400)[:cut])
            peer.say(self.padded(400)[cut:])
            self.assertEqual(self.answer(peer)[0], 101, cut)

    def test_endless_head(self) -> None:
        peer = self.reach()
        for _ in range(40):
            peer.say(b"GET / x" * 2)
        self.assertEqual(self.answer(peer)[0], 431)

    def test_headers(self) -> None:
        for count, status in ((12, 101), (13, 431), (40, 431)):
            head = request(more=[f"X{n}:" for n in range(count - 5)])
            self.assertEqual(self.ask(head)[0], status, count)

    def test_headers_however_cut(self) -> None:
        head = request(more=[f"X{n}:" for n in range(7)])
        for cut in range(len(head) - 10, len(head)):
            peer = self.reach()
            peer.say(head[:cut])
            peer.say(head[cut:])
            self.assertEqual(self.answer(peer)[0], 101, cut)

    def test_endless_headers(self) -> None:
        peer = self.reach()
        peer.say(request()[:-2])
        for _ in range(20):
            peer.say(b"A:\r\n")
        self.assertEqual(self.answer(peer)[0], 431)


class OpeningTests(WebSocketTestCase):
    """The login gets the handshake's headers that it may need, once."""

    origins = ("https://app.example",)

    def shown(self, **headers: str) -> Opening:
        """Return what the login sees of an opening handshake with these headers, after a CONNECT."""
        self.door.seen.clear()
        status, _, _, peer = self.ask(request(**headers))
        self.assertEqual(status, 101)
        peer.say(CONNECT)
        peer.lose()
        (credentials,) = self.door.seen
        return credentials.opening

    def test_headers(self) -> None:
        self.assertEqual(self.shown(), Opening(None, None))
        self.assertEqual(self.shown(Authorization="Bearer t"), Opening("Bearer t", None))
        self.assertEqual(self.shown(Cookie="a=b; c=d", Origin="https://app.example"), Opening(None, "a=b; c=d"))
        self.assertEqual(self.shown(Cookie="a=b", Authorization="t"), Opening("t", "a=b"))

    def test_bytes(self) -> None:
        """All bytes but controls are content, one character each, whatever they mean."""
        self.assertEqual(self.shown(Cookie="city=\xc3\x85rhus; tok=t").cookie, "city=\xc3\x85rhus; tok=t")
        self.assertEqual(self.shown(Authorization="Bearer \x80\x85\xa0\xff").authorization, "Bearer \x80\x85\xa0\xff")
        self.assertEqual(self.shown(Cookie=" \ta=b\tc\t ").cookie, "a=b\tc")

    def test_several_cookie_headers(self) -> None:
        """HTTP/2 lets a browser split them, and a proxy may pass them on so (RFC 9113, section 8.2.3)."""
        _, _, _, peer = self.ask(request(Cookie="a=b", more=["cookie: c=d; e=f"]))
        peer.say(CONNECT)
        self.assertEqual(self.door.seen[-1].opening, Opening(None, "a=b; c=d; e=f"))
        peer.lose()

    def test_nothing_but_cr_lf_begins_a_header(self) -> None:
        """A proxy that strips ``Authorization`` and ``Cookie`` passes on what is content to it (RFC 9112, 2.2)."""
        for name in ("Authorization", "Cookie", "Origin"):
            for byte in range(0x100):
                self.door.seen.clear()
                status, _, _, peer = self.ask(request(more=[f"X-Name: \xc3{chr(byte)}{name}: Bearer t"]))
                self.assertEqual(status, 101 if byte in (0x09, *range(0x20, 0x7F), *range(0x80, 0x100)) else 400, byte)
                if status == 101:
                    peer.say(CONNECT)
                    self.assertEqual([each.opening for each in self.door.seen], [NO_OPENING], byte)
                peer.lose()

    def test_not_of_other_pages(self) -> None:
        """The origin is checked before the login, because browsers send cookies for any page."""
        status, _, _, _ = self.ask(request(Cookie="a=b", Origin="https://evil.example"))
        self.assertEqual((status, self.door.seen), (403, []))

    def test_not_kept(self) -> None:
        """A connection does not keep the headers after the login."""
        _, _, _, peer = self.ask(request(Authorization="Bearer t"))
        (channel,) = self.factory.channels.values()
        peer.say(CONNECT)
        self.assertEqual(self.door.seen[0].opening, Opening("Bearer t", None))
        self.assertEqual(channel.take_opening(), NO_OPENING)
        peer.lose()

    def test_the_url_is_not_looked_at(self) -> None:
        self.door.seen.clear()
        _, _, _, peer = self.ask(request(f"{PATH}?access_token=t&token=t"))
        peer.say(CONNECT)
        peer.lose()
        self.assertNotIn("t", [*self.door.seen[0].opening, *self.door.seen[0].headers.values()])
