"""Tokens of up to 128 KiB (``--token-size``): every way to send one, lists of thousands of channels, real proxies."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.auth.case import token
from tests.integration.daemon import Daemon, environment
from tests.integration.fronts import Front
from tests.integration.node import NodeClient, body_of
from tests.integration.payloads import CHANNEL_CONNECTED, DESTINATIONS
from tests.integration.raw import RawClient
from tests.integration.test_cli import CONNECTED, Cli, command, run
from tests.integration.test_revocation import RevocationCase
from tests.integration.test_tokens import ORIGIN, fresh
from tests.patience import PATIENCE
from tests.sources.redis.server import own_prefix, shared_server

LARGEST = 131_072
ALLOWED = f"--token-size={LARGEST}"
#: Limits that are far smaller than a token.
SMALL = ("--connect-frame=1000", "--header-line=500", "--request-head=1000", "--frame=3000", "--body=2000")
REFRESH = "/airyd/token"
COOKIE = "airy"


def channels(seed: int) -> list[str]:
    """Return the ids of 2,000 channels."""
    return [f"{seed:08x}-0000-4000-8000-{number:012x}" for number in range(2000)]


def event(channel: str) -> bytes:
    """Return the body of an event of a channel."""
    return json.dumps({"id": channel}).encode()


class LargeTokenCase(RevocationCase):
    """Tokens of a given size."""

    def of_size(self, size: int, **changed: Any) -> str:
        """Return a token of so many bytes."""
        claims = fresh(**changed, x="")
        for bytes_more in range(size):  # base64 has no text of 4n + 1 characters
            made = token(json.dumps({**claims, "x": "x" * bytes_more}).encode())
            if len(made) >= size:
                break
            if len(made) < size - 100:
                claims["y"] = "y" * ((size - len(made)) * 3 // 4 - 60)
        self.assertEqual(len(made), size)
        self.shown += made.split(".")[1:]
        return made

    def ways(self, daemon: Daemon, text: str) -> list[str]:
        """Log in by each way; return the answers to CONNECT, then that to a refresh."""
        cookie = {"Cookie": f"theme=dark; {COOKIE}={text}", "Origin": ORIGIN}
        answers = []
        for version in ("1.0", "1.1", "1.2"):
            for headers in (
                {"Authorization": f"Bearer {text}"},
                {"authorization": text},
                {"login": "ann", "passcode": text},
                {"login": "ann", "passcode": "guest", "Authorization": f"Bearer {text}", "heart-beat": "0,0"},
            ):
                answers.append(self.answer(self.open(daemon), {"accept-version": version, **headers}))
        for opening in ({"Authorization": f"Bearer {text}"}, cookie):
            client = RawClient(daemon.port, headers={**opening})
            self.addCleanup(client.abort)
            status = client.ask().status
            answers.append(self.answer(client, {"accept-version": "1.2"}) if status == 101 else str(status))
        client = self.open(daemon)
        client.connect(passcode=self.token())
        client.send("SEND", [("destination", REFRESH), ("receipt", "r")], f"Bearer {text}".encode())
        answers.append(self.told(client))
        return answers

    def answer(self, client: RawClient, headers: dict[str, str]) -> str:
        """Send CONNECT; return what came."""
        client.send("CONNECT", headers)
        return self.told(client)

    def told(self, client: RawClient) -> str:
        """Return the next frame's command, or an ERROR's message."""
        frame = client.receive()
        return frame.headers["message"] if frame.command == "ERROR" else frame.command


class WaysTests(LargeTokenCase):
    """Wherever a token may be, one of the allowed size fits, whatever the other limits are."""

    def daemon_with(self, *options: str) -> Daemon:
        """Start a daemon that takes tokens from everywhere."""
        return self.with_secret(f":cookie={COOKIE}", f"--origin={ORIGIN}", *options)

    def test_largest(self) -> None:
        daemon = self.daemon_with(ALLOWED, *SMALL)
        self.assertEqual(self.ways(daemon, self.of_size(LARGEST)), [*["CONNECTED"] * 14, "RECEIPT"])

    def test_too_large(self) -> None:
        """It is refused in each place, and the log has its size, not its text."""
        daemon = self.daemon_with(ALLOWED, *SMALL)
        answers = self.ways(daemon, self.of_size(LARGEST + 3))
        self.assertLessEqual(set(answers), {"401 Unauthorized", "frame too big"})
        self.assertEqual(self.ways(daemon, self.of_size(LARGEST + 1001))[-3:], ["431", "431", "frame too big"])
        self.assertIn(f"the token has {LARGEST + 3} characters; the limit is {LARGEST}", daemon.log)
        self.assertLess(max(map(len, daemon.log.splitlines())), 1000)

    def test_one_token(self) -> None:
        """What did not count in the opening handshake counts in CONNECT, so that a client holds no two tokens here."""
        daemon = self.daemon_with(ALLOWED, *SMALL)
        largest, small = self.of_size(LARGEST), self.token()
        for opening, passcode, expected in (
            (largest, largest, "frame too big"),
            (largest, small, "CONNECTED"),
            (small, largest, "CONNECTED"),
        ):
            client = self.open(daemon, headers={"Authorization": f"Bearer {opening}"})
            self.assertEqual(self.answer(client, {"accept-version": "1.2", "passcode": passcode}), expected)

    def test_usual_size(self) -> None:
        daemon = self.daemon_with()
        self.assertEqual(self.ways(daemon, self.of_size(8192)), [*["CONNECTED"] * 14, "RECEIPT"])
        self.assertNotIn("CONNECTED", self.ways(daemon, self.of_size(8195)))

    def test_nothing_else_may_be_larger(self) -> None:
        daemon = self.daemon_with(ALLOWED, *SMALL)
        long = "x" * 600
        for headers in ({"login": long}, {f"x{n}": long[:400] for n in range(3)}, {"Authorizations": long}):
            self.assertEqual(self.answer(self.open(daemon), {"accept-version": "1.2", **headers}), "frame too big")
        for name in ("X-Name", "Authorizations", "Set-Cookie"):
            client = RawClient(daemon.port, headers={name: long * 2})
            self.addCleanup(client.abort)
            self.assertEqual(client.ask().status, 431)
        for kind, headers, body in (
            ("SEND", {"destination": CHANNEL_CONNECTED}, b"x" * 2001),
            ("SEND", {"destination": f"{REFRESH}s"}, b"x" * 2001),
            ("SEND", {"destination": REFRESH, "Authorization": long}, b""),
            ("SUBSCRIBE", {"destination": CHANNEL_CONNECTED, "id": "1", "passcode": long}, b""),
        ):
            client = self.open(daemon)
            client.connect(passcode=self.token())
            client.send(kind, headers, body)
            self.assertEqual(self.told(client), "frame too big")


class ChannelsTests(LargeTokenCase):
    """Lists of 2,000 channels, from the login to the revocation."""

    def check_channels(self, daemon: Daemon, client: RawClient, seen: Sequence[str], hidden: Sequence[str]) -> None:
        """Publish events of all these channels; those to be seen arrive, and no others."""
        for each in (*hidden, *seen):
            daemon.publish(CHANNEL_CONNECTED, event(each))
        self.assertEqual([client.message("c").body for _ in seen], [event(each) for each in seen])

    def test_end_to_end(self) -> None:
        daemon = self.with_secret("", ALLOWED)
        old = int(time.time()) - 5
        first, second = channels(1), channels(2)
        shown = self.token(only={"channel_id": first}, iat=old)
        self.assertGreater(len(shown), 100_000)
        client = self.open(daemon)
        client.connect(Authorization=f"Bearer {shown}")
        client.subscribe(CHANNEL_CONNECTED, "c")
        ends = (0, 999, 1999)
        self.check_channels(daemon, client, [first[n] for n in ends], [second[n] for n in ends])
        other = self.token(only={"channel_id": second}, iat=old)
        client.send("SEND", [("destination", REFRESH), ("receipt", "r")], other.encode())
        client.receipt("r")
        self.check_channels(daemon, client, [second[n] for n in ends], [first[n] for n in ends])
        subject = fresh()["sub"]
        self.revoke(f"--subject={subject}", self.admin(daemon))
        error, code = client.error()
        self.assertEqual((error.headers["message"], code), ("401 token revoked", 1008))
        self.refused(self.open(daemon), passcode=other)

    def test_many_destinations(self) -> None:
        """A token with 2,000 patterns allows what they say."""
        daemon = self.with_secret("", ALLOWED)
        client = self.open(daemon)
        client.connect(passcode=self.token(subscribe=[*(f"/queue/{each}" for each in channels(1)[:1900]), "/queue/**"]))
        client.subscribe(CHANNEL_CONNECTED, "c")
        client = self.open(daemon)
        client.connect(passcode=self.token(subscribe=[f"/queue/{each}" for each in channels(1)[:1900]]))
        client.send("SUBSCRIBE", destination=CHANNEL_CONNECTED, id="c")
        self.assertEqual(client.error()[0].headers["message"], "403 Forbidden")

    def test_airys_client(self) -> None:
        daemon = self.with_secret("", ALLOWED)
        shown = self.token(only={"channel_id": channels(1)}, missing="allow")
        client = NodeClient("airy.mjs", url=daemon.url, stompjs=7, destinations=DESTINATIONS, token=shown)
        self.addCleanup(client.close)
        client.wait_all("receipt", len(DESTINATIONS))
        daemon.publish(CHANNEL_CONNECTED, event(channels(2)[0]))
        daemon.publish(CHANNEL_CONNECTED, event(channels(1)[7]))
        self.assertEqual(body_of(client.wait("message")), event(channels(1)[7]))

    def test_workers(self) -> None:
        source = f"redis://127.0.0.1:{shared_server().port}/0?prefix={own_prefix()}"
        daemon = self.with_secret("", ALLOWED, f"--source={source}", "--workers=2")
        shown = self.token(only={"channel_id": channels(1)})
        clients = [self.open(daemon) for _ in range(4)]
        for client in clients:
            client.connect(passcode=shown)
            client.subscribe(CHANNEL_CONNECTED, "c")
        daemon.publish(CHANNEL_CONNECTED, event(channels(2)[0]))
        daemon.publish(CHANNEL_CONNECTED, event(channels(1)[0]))
        self.assertEqual([client.message("c").body for client in clients], [event(channels(1)[0])] * 4)

    def test_commands(self) -> None:
        """``airyd token`` makes such a token, and ``airyd tail`` logs in with it."""
        daemon = self.with_secret("", ALLOWED)
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "secret").write_text(self.shown[0])
        claim = json.dumps({"channel_id": channels(1)})
        making = command("token", "--secret-file", str(folder / "secret"), "ann", "--claim", f"only={claim}")
        done = subprocess.run(making, capture_output=True, env=environment(), timeout=PATIENCE, check=True, text=True)
        self.assertIn(f"--token-size {len(done.stdout.strip())} ", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.shown += done.stdout.strip().split(".")[1:]
        (folder / "token").write_text(done.stdout)
        arguments = ["tail", daemon.url, CHANNEL_CONNECTED, "--count=1", "--token-file", str(folder / "token")]
        tail = Cli(folder / "tail", *arguments)
        self.addCleanup(tail.kill)
        tail.wait_for(CONNECTED)
        url = self.admin(daemon)
        for channel in (channels(2)[0], channels(1)[0]):
            self.assertEqual(run("publish", url, CHANNEL_CONNECTED, event(channel).decode())[0], 0)
        self.assertEqual(tail.wait(), 0)
        self.assertEqual([each["payload"] for each in tail.events()], [{"id": channels(1)[0]}])

    def test_a_token_that_the_server_does_not_allow(self) -> None:
        """``airyd tail`` says what the limit is."""
        daemon = self.with_secret()
        path = Path(self.mktemp())
        path.write_text(self.token(only={"channel_id": channels(1)}))
        tail = Cli(Path(self.mktemp()), "tail", daemon.url, f"--token-file={path}")
        self.addCleanup(tail.kill)
        tail.wait_for("frame too big: A header line must not have more than 8214 bytes")


class ProxyTests(LargeTokenCase):
    """nginx and haproxy, which docs/security.rst tells about."""

    def setUp(self) -> None:
        super().setUp()
        self.at = self.with_secret(f":cookie={COOKIE}", f"--origin={ORIGIN}", ALLOWED)

    def check_behind(self, name: str) -> None:
        """In CONNECT the largest token fits; in the opening handshake only if the proxy was told."""
        largest = self.of_size(LARGEST)
        for is_large, status in ((False, 400), (True, 101)):
            front = Front(name, self.at.port, is_large)
            self.addCleanup(front.stop)
            client = RawClient(front.socket)
            self.addCleanup(client.abort)
            client.handshake()
            self.assertEqual(self.answer(client, {"accept-version": "1.2", "passcode": largest}), "CONNECTED")
            client = RawClient(front.socket, headers={"Cookie": f"{COOKIE}={largest}", "Origin": ORIGIN})
            self.addCleanup(client.abort)
            self.assertEqual(client.ask().status, status)
        self.assertEqual(self.answer(client, {"accept-version": "1.2"}), "CONNECTED")

    def test_behind_nginx(self) -> None:
        self.check_behind("nginx")

    def test_behind_haproxy(self) -> None:
        self.check_behind("haproxy")
