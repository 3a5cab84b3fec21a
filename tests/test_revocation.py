"""The list of revocations: how they combine, and how long they last."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from airyd.revocation import Revocation, RevocationKind, RevocationTable, is_name, new_revocation, retention

ANN = Revocation(RevocationKind.SUBJECT, "ann", 10.0, 100.0)


class RevocationListTests(SynchronousTestCase):
    """The revocations that are known and in force."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.known = RevocationTable(self.clock.seconds)

    def find(self, name: str = "ann", kind: RevocationKind = RevocationKind.SUBJECT) -> Revocation | None:
        """Return the revocation that is in force for a name."""
        return self.known.find(kind, name)

    def test_found_until_it_expires(self) -> None:
        self.assertTrue(self.known.add(ANN))
        self.clock.advance(99.9)
        self.assertEqual((self.find(), list(self.known)), (ANN, [ANN]))
        self.clock.advance(0.1)
        self.assertEqual((self.find(), list(self.known)), (None, []))

    def test_kinds_are_apart(self) -> None:
        self.known.add(ANN)
        self.assertIsNone(self.find(kind=RevocationKind.JTI))
        self.assertIsNone(self.find("bea"))

    def test_repeated(self) -> None:
        self.assertTrue(self.known.add(ANN))
        self.assertFalse(self.known.add(ANN))

    def test_joined(self) -> None:
        """Two revocations of one name apply to the tokens of both, whichever comes first."""
        more, longer = ANN._replace(at=20.0, until=90.0), ANN._replace(until=120.0)
        for order in ((ANN, more, longer), (longer, more, ANN)):
            known = RevocationTable(self.clock.seconds)
            for each in order:
                known.add(each)
            self.assertEqual(known.find(RevocationKind.SUBJECT, "ann"), ANN._replace(at=20.0, until=120.0))

    def test_expired_on_arrival(self) -> None:
        self.clock.advance(100)
        self.assertFalse(self.known.add(ANN))
        self.assertEqual(len(self.known), 0)

    def test_expired_ones_are_forgotten(self) -> None:
        """At most about twice as many are kept as are in force."""
        for number in range(20_000):
            self.known.add(Revocation(RevocationKind.JTI, f"j{number}", number, number + 100.0))
            self.clock.advance(1)
        self.assertLess(len(self.known), 1100)
        self.assertEqual(len(list(self.known)), 99)

    def test_made(self) -> None:
        """A new revocation outlasts any token by the leeway for clocks that differ."""
        made = new_revocation(RevocationKind.JTI, "j", 1000.00049, 50)
        self.assertEqual(made, (RevocationKind.JTI, "j", 1000.0, 1000.0 + retention(50)))
        self.assertEqual(retention(50), 650)

    def test_names(self) -> None:
        for name in ("a", "ä b", "x" * 255):
            self.assertTrue(is_name(name))
        for wrong in ("", "x" * 256, "a\n", "a\0", None, 1, ["a"]):
            self.assertFalse(is_name(wrong))
