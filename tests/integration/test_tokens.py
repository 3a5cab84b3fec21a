"""Logins with tokens: Airy's real client, and a server of keys that rotates them and dies."""

from __future__ import annotations

import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.auth.case import SECRET, claims, jwk, private_key, token
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import CHANNEL_CONNECTED, DESTINATIONS, MESSAGE, UNREAD_COUNT, body
from tests.integration.raw import RawClient
from tests.patience import PATIENCE

ORIGIN = "https://app.example"


def fresh(**changed: Any) -> dict[str, Any]:
    """Return Airy's claims for the next hour of the real clock."""
    now = int(time.time())
    return claims(**{"iat": now, "exp": now + 3600, **changed})


class TokenCase(DaemonTestCase):
    """Daemons that require tokens; their logs must contain neither the secret nor any token."""

    def setUp(self) -> None:
        """Begin the list of secrets that must not be logged."""
        self.shown: list[str] = [SECRET]

    def serving(self, *options: str) -> Daemon:
        """Start a daemon whose log is checked at the end."""
        daemon = self.own_daemon(*options)
        self.addCleanup(self.check_log, daemon)
        return daemon

    def with_secret(self, words: str = "", *options: str) -> Daemon:
        """Start a daemon with the tests' secret."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name, "secret")
        path.write_text(f"{SECRET}\n")
        return self.serving(f"--auth=jwt:secret-file={path}{words}", *options)

    def check_log(self, daemon: Daemon) -> None:
        """Check that the log contains no secrets, tokens or parts of them."""
        log = daemon.log + daemon.metrics()
        for text in self.shown:
            for part in text.split("."):
                self.assertNotIn(part, log)

    def token(self, **changed: Any) -> str:
        """Return a token; no log may contain it."""
        made = token(fresh(**changed))
        self.shown += made.split(".")[1:]
        return made

    def ends_soon(
        self, start: Callable[[str], NodeClient], is_ready: Callable[[NodeClient], bool]
    ) -> tuple[NodeClient, float]:
        """Start a client with a token that expires soon, and wait until it is ready; return it and the time of expiry.

        If the token expires before that, because the machine is busy, try again with one that lasts longer.
        """
        lifetime = 4
        while lifetime < PATIENCE:
            end = int(time.time()) + lifetime
            client = start(self.token(exp=end))
            self.addCleanup(client.close)
            while not client.told("error"):
                if is_ready(client):
                    return client, end
                client.poll(0.05)
            client.close()
            lifetime *= 2
        raise AssertionError("the client was not ready before its token expired")

    def refused(self, client: RawClient, **headers: str) -> str:
        """Log in and check that the login is refused with 401; return the ERROR's body."""
        client.send("CONNECT", [("accept-version", "1.2"), *headers.items()])
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("401 Unauthorized", 1008))
        return error.body.decode()


class SecretTests(TokenCase):
    """HS256, like Airy's tokens."""

    def test_airys_client(self) -> None:
        daemon = self.with_secret()
        url = daemon.url
        client = NodeClient("airy.mjs", url=url, stompjs=7, destinations=DESTINATIONS, token=self.token())
        self.addCleanup(client.close)
        client.wait_all("receipt", len(DESTINATIONS))
        data = body(MESSAGE, 1)
        daemon.publish(MESSAGE, data)
        self.assertEqual(body_of(client.wait("message")), data)
        expired = self.token(exp=int(time.time()) - 1)
        other = NodeClient("airy.mjs", url=url, stompjs=7, destinations=DESTINATIONS, token=expired)
        self.addCleanup(other.close)
        error = other.wait("error")
        self.assertEqual((error["headers"]["message"], error["body"]), ("401 Unauthorized", "The token has expired."))
        other.wait("logout")
        daemon.wait_for_metrics(sessions=1, logins_refused_total=1)

    def test_every_version(self) -> None:
        """A refusal is the same in each version."""
        daemon = self.with_secret()
        for version in ("1.0", "1.1", "1.2"):
            client = self.open(daemon)
            client.version = version
            client.send("CONNECT", [("accept-version", version), ("Authorization", "Bearer x.y.z")])
            error, code = client.error()
            self.assertEqual((error.headers["message"], code), ("401 Unauthorized", 1008))

    def test_places(self) -> None:
        """A token is accepted in every place but the URL."""
        daemon = self.with_secret(":cookie=airy", f"--origin={ORIGIN}")
        good = self.token()
        self.open(daemon).connect(Authorization=f"Bearer {good}")
        self.open(daemon).connect(Authorization=good)
        self.open(daemon).connect(login="ann", passcode=good)
        self.open(daemon, headers={"Authorization": f"Bearer {good}"}).connect()
        cookie = {"Cookie": f"theme=dark; airy={good}"}
        self.open(daemon, headers={**cookie, "Origin": ORIGIN}).connect()
        stranger = RawClient(daemon.port, headers={**cookie, "Origin": "https://evil.example"})
        self.addCleanup(stranger.abort)
        self.assertEqual(stranger.ask().status, 403)
        by_url = self.open(daemon, path=f"/ws.communication?token={good}&access_token={good}")
        self.assertEqual(self.refused(by_url), "There is no valid token.")

    def test_refused(self) -> None:
        daemon = self.with_secret()
        for changed, said in (
            ({"exp": int(time.time()) - 5}, "The token has expired."),
            ({"sub": 7}, "There is no valid token."),
            ({"aud": "others"}, "There is no valid token."),
        ):
            self.assertEqual(self.refused(self.open(daemon), passcode=self.token(**changed)), said)
        self.assertEqual(self.refused(self.open(daemon)), "There is no valid token.")
        self.assertRegex(daemon.log, r"refused, expired: exp was \d+ s ago")
        self.assertIn("refused, missing: there is no token", daemon.log)
        daemon.wait_for_metrics(logins_refused_total=4, errors_total=4)

    def test_anonymous_beside(self) -> None:
        daemon = self.with_secret("", "--auth=anonymous")
        self.open(daemon).connect()
        self.open(daemon).connect(passcode=self.token())
        self.refused(self.open(daemon), passcode="guest")

    def test_expires_while_connected(self) -> None:
        """Airy's client is logged out when its token expires, not before."""
        daemon = self.with_secret()
        client, end = self.ends_soon(
            lambda token: NodeClient("airy.mjs", url=daemon.url, stompjs=7, destinations=DESTINATIONS, token=token),
            lambda client: len(client.told("receipt")) == len(DESTINATIONS),
        )
        error = client.wait("error")
        self.assertEqual(error["headers"]["message"], "401 token expired")
        self.assertGreaterEqual(time.time(), end)
        client.wait("logout")
        self.assertEqual(client.wait("closed")["code"], 1008)

    def test_rights(self) -> None:
        """Requests that a token doesn't allow are refused, also in a transaction."""
        daemon = self.with_secret()
        good = self.token(send=["/queue/channel/*"], subscribe=["/queue/**"])
        client = self.open(daemon)
        client.connect(Authorization=good)
        client.subscribe(CHANNEL_CONNECTED, "c")
        client.send("SEND", [("destination", CHANNEL_CONNECTED), ("content-type", "application/json")], b'{"id":"1"}')
        self.assertEqual(client.message("c").body, b'{"id":"1"}')
        for more in ((), (("transaction", "t"),)):
            forger = self.open(daemon)
            forger.connect(Authorization=good)
            if more:
                forger.send("BEGIN", transaction="t")
            forger.send("SEND", [("destination", MESSAGE), *more], body(MESSAGE, 1))
            error, code = forger.error()
            self.assertEqual((error.headers["message"], code), ("403 Forbidden", 1008))
        reader = self.open(daemon)
        reader.connect(Authorization=self.token(subscribe=["/queue/message"]))
        reader.send("SUBSCRIBE", destination=UNREAD_COUNT, id="u")
        self.assertEqual(reader.error()[0].headers["message"], "403 Forbidden")

    def test_rows(self) -> None:
        """Live and replayed events are only those of the token's channel; filtered events don't break a resume."""
        daemon = self.with_secret()
        client = self.open(daemon)
        client.connect(Authorization=self.token(only={"channel_id": ["c1"]}))
        position = client.subscribe(CHANNEL_CONNECTED, "c").headers["last-message-id"]
        bodies = [json.dumps({"id": f"c{n % 2}", "n": n}).encode() for n in range(6)]
        for each in bodies:
            daemon.publish(CHANNEL_CONNECTED, each)
        self.assertEqual([client.message("c").body for _ in range(3)], bodies[1::2])
        again = self.open(daemon)
        again.connect(Authorization=self.token(only={"channel_id": ["c1"]}, sub="bea"))
        receipt = again.subscribe(CHANNEL_CONNECTED, "c", last_message_id=position)
        self.assertEqual(receipt.headers["recovered"], "true")
        self.assertEqual([again.message("c").body for _ in range(3)], bodies[1::2])
        again.send("SUBSCRIBE", destination=UNREAD_COUNT, id="u")
        self.assertEqual(again.error()[0].headers["message"], "403 Forbidden")


class RefreshTests(TokenCase):
    """A new token on an open connection, with the example in docs/clients.rst."""

    def page(self, daemon: Daemon, *tokens: str, refreshed: bool = True) -> tuple[NodeClient, float]:
        """Start a page with a token that expires soon, so that it is warned at once, followed by these tokens.

        Returns the connected page, and when its first token expires.

        :param refreshed: whether to wait until the second token is accepted
        """

        def is_ready(page: NodeClient) -> bool:
            told = "logins_refreshed_total"
            return bool(page.told("connected")) and (not refreshed or daemon.sums(told)[told] == 1)

        return self.ends_soon(
            lambda soon: NodeClient(
                "login.mjs",
                url=daemon.url,
                stompjs=7,
                destinations=[MESSAGE, UNREAD_COUNT],
                tokens=[soon, *tokens],
            ),
            is_ready,
        )

    def test_outlives_its_first_token(self) -> None:
        daemon = self.with_secret()
        page, end = self.page(daemon, self.token())
        number = 0
        while time.time() < end + 3:  # an expired connection is closed within two seconds
            number += 1
            daemon.publish(MESSAGE, body(MESSAGE, number))
            self.assertEqual(body_of(page.wait("message")), body(MESSAGE, number))
        self.assertEqual(len(page.told("token asked")), 2)
        self.assertEqual(page.told("error"), [])
        daemon.wait_for_metrics(sessions=1)

    def test_loses_a_right(self) -> None:
        daemon = self.with_secret()
        page, _ = self.page(daemon, self.token(subscribe=["/queue/*"], only={"conversation_id": ["v-1"]}))
        ended = (page.told("ended") or [page.wait("ended")])[0]
        self.assertEqual(ended["destination"], CHANNEL_CONNECTED)
        daemon.wait_for_metrics(sessions=1)

    def test_bad_token(self) -> None:
        daemon = self.with_secret()
        page, _ = self.page(daemon, self.token(exp=int(time.time()) - 5), refreshed=False)
        error = page.wait("error")
        self.assertEqual((error["headers"]["message"], error["body"]), ("401 Unauthorized", "The token has expired."))
        self.assertEqual(page.wait("closed")["code"], 1008)
        self.assertIn("refused, expired", daemon.log)

    def test_without_status(self) -> None:
        """Without ``/airyd/status``, a client that loses a subscription is closed; one that loses none stays."""
        daemon = self.with_secret()
        for wanted in ([UNREAD_COUNT], [MESSAGE]):
            client = self.open(daemon)
            client.connect(Authorization=self.token())
            client.subscribe(MESSAGE, "m")
            token = self.token(subscribe=wanted)
            client.send("SEND", [("destination", "/airyd/token"), ("receipt", "r")], token.encode())
            if MESSAGE in wanted:
                client.receipt("r")
                daemon.publish(MESSAGE, body(MESSAGE, 1))
                client.message("m")
            else:
                error, code = client.error()
                self.assertEqual((error.headers["message"], code), ("403 Forbidden", 1008))


class KeyServer:
    """Serves a JWK Set over HTTP until it is stopped.

    :ivar keys: the keys in the set
    :ivar status: the status of its responses
    :ivar asked: how many requests it got
    """

    def __init__(self, *keys: dict[str, Any], port: int = 0) -> None:
        self.keys = list(keys)
        self.status = 200
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                answer = json.dumps({"keys": outer.keys}).encode()
                self.send_response(outer.status)
                self.send_header("Content-Type", "application/jwk-set+json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Close the port; harmless when repeated."""
        self._server.shutdown()
        self._server.server_close()


class KeySetTests(TokenCase):
    """RS256 and ES256 with a JWK Set, like tokens of identity providers."""

    def logged_in(self, daemon: Daemon, number: int) -> str:
        """Log in with a token of this key; return CONNECTED, or the ERROR's message."""
        client = self.open(daemon)
        made = token(fresh(), private_key("ES256", number), "ES256", kid=f"k{number}")
        self.shown += made.split(".")[1:]
        client.send("CONNECT", [("accept-version", "1.2"), ("Authorization", f"Bearer {made}")])
        answer = client.receive()
        return answer.headers["message"] if answer.command == "ERROR" else answer.command

    def readiness(self, daemon: Daemon) -> tuple[int, dict[str, Any]]:
        """Return the response of ``/readyz``."""
        status, answer = daemon.request("GET", "/readyz")
        return status, json.loads(answer)

    def polls(self) -> Iterator[None]:
        """Yield repeatedly; raise ``AssertionError`` when time is up."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            yield
            time.sleep(0.05)
        raise AssertionError("the expected state did not come in time")

    def test_rotates_and_dies(self) -> None:
        server = KeyServer(jwk(private_key("ES256"), "k0"))
        self.addCleanup(server.stop)
        daemon = self.serving(f"--auth=jwt:jwks=http://127.0.0.1:{server.port}/keys?secret=hunter2hunter2")
        self.shown.append("hunter2hunter2")
        self.assertEqual(self.logged_in(daemon, 0), "CONNECTED")
        # A new key is accepted from the next fetch on.
        self.assertEqual(self.logged_in(daemon, 1), "401 Unauthorized")
        server.keys.append(jwk(private_key("ES256", 1), "k1"))
        for _ in self.polls():
            if self.logged_in(daemon, 1) == "CONNECTED":
                break
        self.assertGreaterEqual(server.asked, 2)
        self.assertEqual(self.readiness(daemon), (200, {"ready": True, "reasons": []}))
        server.stop()
        # The server is dead: known keys stay in use; a token with an unknown key is refused without a logout.
        for _ in self.polls():
            if self.logged_in(daemon, 2) == "login unavailable":
                break
        self.assertEqual(self.logged_in(daemon, 0), "CONNECTED")
        status, answer = self.readiness(daemon)
        self.assertEqual((status, answer["ready"], len(answer["warnings"])), (200, True, 1))
        self.assertIn("airyd_login_up 0.0", daemon.metrics())
        # The server is back: airyd fetches the keys that were added meanwhile.
        again = KeyServer(*server.keys, jwk(private_key("ES256", 2), "k2"), port=server.port)
        self.addCleanup(again.stop)
        for _ in self.polls():
            if self.logged_in(daemon, 2) == "CONNECTED":
                break
        self.assertEqual(self.readiness(daemon)[1], {"ready": True, "reasons": []})
        self.assertIn("airyd_login_up 1.0", daemon.metrics())

    def test_each_trouble_is_one_line(self) -> None:
        """Repeated failures are one line in the log, without lines of the library; so is the recovery."""
        server = KeyServer(jwk(private_key("ES256"), "k0"))
        self.addCleanup(server.stop)
        server.status = 500
        url = f"http://127.0.0.1:{server.port}/keys"
        daemon = self.serving(f"--auth=jwt:jwks={url}?secret=hunter2hunter2", "--auth=anonymous")
        for _ in self.polls():
            if server.asked >= 3:
                break
        server.status = 404
        daemon.wait_for_log(re.compile("answers with 404"))
        server.status = 200
        daemon.wait_for_log(re.compile("got the keys"))
        self.assertEqual(self.logged_in(daemon, 0), "CONNECTED")
        lines = [line.partition("] ")[2] for line in daemon.log.partition("airyd serves")[2].splitlines()[1:]]
        self.assertEqual(
            [line for line in lines if not line.startswith("tcp4:")],  # the client's own lines
            [
                f"cannot get keys for tokens from {url}: the server answers with 500",
                f"cannot get keys for tokens from {url}: the server answers with 404",
                f"got the keys for tokens from {url}: 1",
            ],
        )

    def test_tls_failure_of_the_key_server(self) -> None:
        """A key server whose TLS fails is one plain line in the log."""
        server = KeyServer()
        self.addCleanup(server.stop)
        url = f"https://127.0.0.1:{server.port}/keys"
        daemon = self.serving(f"--auth=jwt:jwks={url}", "--auth=anonymous")
        daemon.wait_for_log(re.compile(f"cannot get keys for tokens from {url}: .*TLS"))
        self.assertEqual(len(daemon.log.partition("airyd serves")[2].splitlines()[1:]), 1)
