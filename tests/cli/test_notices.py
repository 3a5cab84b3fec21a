"""What ``/airyd/status`` says, in words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.cli.notices import Notices

UP = b'{"type":"source","state":"up"}'
AWAY = "the event source is away: nothing new comes on {} until it is back"
BACK = "the event source is back"


def down(*names: str) -> bytes:
    """Return the message that says that the source of these is away."""
    listed = ",".join(f'"{name}"' for name in names)
    return b'{"type":"source","state":"down","destinations":[%b]}' % listed.encode()


class NoticesTests(SynchronousTestCase):
    """Messages in, lines out."""

    def setUp(self) -> None:
        self.notices = Notices(lambda name: name in ("/a", "/b"))

    def test_source(self) -> None:
        """Each change is said once; the rest, and what is not followed, is not."""
        for body, line in [
            (UP, None),
            (down("/c"), None),
            (down("/a", "/c"), AWAY.format("/a")),
            (down("/a"), None),
            (down("/a", "/b"), AWAY.format("/a, /b")),
            (down("/b"), AWAY.format("/b")),
            (UP, BACK),
            (UP, None),
        ]:
            self.assertEqual(self.notices.line(body), line)

    def test_gap(self) -> None:
        body = b'{"type":"gap","destinations":["/a","/c"],"since":"x-1"}'
        self.assertEqual(
            self.notices.line(body), "events of /a may be missing before this point: the server missed some"
        )
        self.assertIsNone(self.notices.line(body.replace(b"/a", b"/d")))

    def test_draining(self) -> None:
        self.assertEqual(self.notices.line(b'{"type":"draining","within":1.52}'), "the server stops within 1.5 s")

    def test_token(self) -> None:
        self.assertEqual(self.notices.line(b'{"type":"token","within":59.2}'), "the token expires in 59 s")

    def test_unknown(self) -> None:
        """Further types and members, and what isn't even JSON, are nothing to stumble over."""
        for body in (
            b"",
            b"\xff",
            b"[" * 100_000,
            b"[]",
            b"{}",
            b'{"type":"new"}',
            b'{"type":"source"}',
            b'{"type":"source","state":"down","destinations":"/a"}',
            b'{"type":"source","state":"down","destinations":[1,null]}',
            b'{"type":"draining","within":"soon"}',
        ):
            self.assertIsNone(self.notices.line(body))
        self.assertEqual(self.notices.line(down("/a").replace(b"{", b'{"more":1,', 1)), AWAY.format("/a"))
