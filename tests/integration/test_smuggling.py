"""A client can't smuggle a header past a proxy: raw sockets, real nginx, real haproxy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.integration.fronts import Front
from tests.integration.raw import RawClient
from tests.integration.test_tokens import TokenCase

COOKIE = "tok"
#: Bytes that end a line for Python, but not for an HTTP proxy.
LINE_ENDS = (0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x85)
ORIGIN = "https://app.example"


class SmugglingTests(TokenCase):
    """Clients without a token are refused, and odd bytes beside a token don't matter."""

    def setUp(self) -> None:
        """Start a daemon that accepts tokens in ``Authorization`` and in a cookie."""
        super().setUp()
        daemon = self.with_secret(f":cookie={COOKIE}", f"--origin={ORIGIN}")
        self.port: int | Path = daemon.port
        self.good = self.token()

    def behind(self, name: str) -> Path:
        """Start a proxy that removes ``Authorization``; return its socket."""
        assert isinstance(self.port, int)
        front = Front(name, self.port)
        self.addCleanup(front.stop)
        return front.socket

    def asked(self, place: int | Path, headers: Mapping[str, str], byte: int | None = None) -> int | str:
        """Return the status of an opening handshake with these headers; after a 101, the command that answers CONNECT.

        :param byte: the value of ``%b`` in the headers
        """
        client = RawClient(place, headers={**headers})
        self.addCleanup(client.abort)
        if byte is not None:
            client.request = client.request.replace(b"%b", bytes([byte]))
        status = client.ask().status
        if status != 101:
            return status
        client.send("CONNECT", {"accept-version": "1.2"})
        return client.receive().command

    def check_place(self, place: int | Path) -> None:
        """Check that bytes in other headers smuggle no token in, and that other cookies may have any bytes."""
        for byte in LINE_ENDS:
            hidden = {"X-Name": f"\xc3%bAuthorization: Bearer {self.good}"}
            self.assertIn(self.asked(place, hidden, byte), (400, "ERROR"), hex(byte))
        hidden = {"X-Name": f"\xc5Authorization: Bearer {self.good}"}
        self.assertEqual(self.asked(place, hidden), "ERROR")
        for city in ("\xc5rhus", "\xa0", "\u3000", "S\xe3o"):  # sent as UTF-8
            cookie = {"Cookie": f"city={city}; {COOKIE}={self.good}; x={city}", "Origin": ORIGIN}
            self.assertEqual(self.asked(place, cookie), "CONNECTED", city)
        self.assertEqual(self.asked(place, {"Cookie": f"x=%b{COOKIE}={self.good}"}, 0x85), "ERROR")
        self.assertEqual(self.asked(place, {"Origin": f"%b{ORIGIN}"}, 0x85), 403)

    def test_directly(self) -> None:
        self.check_place(self.port)
        self.assertEqual(self.asked(self.port, {"Authorization": f"Bearer {self.good}"}), "CONNECTED")

    def test_behind_nginx(self) -> None:
        self.check_behind("nginx")

    def test_behind_haproxy(self) -> None:
        self.check_behind("haproxy")

    def check_behind(self, name: str) -> None:
        """Check that a proxy removes ``Authorization`` and that no bytes bring it back."""
        place = self.behind(name)
        self.check_place(place)
        self.assertEqual(self.asked(place, {"Authorization": f"Bearer {self.good}"}), "ERROR")
