"""Connections with revoked tokens are ended, without delaying other work."""

from __future__ import annotations

import contextlib

import airyd.websocket.revocation_sweep
from airyd.errors import Fault
from airyd.interfaces import IPrincipal
from airyd.websocket.revocation_sweep import ENDS_PER_TURN, RevocationSweep
from tests.doubles import Somebody
from tests.hub.test_pacing import PlainReactor
from tests.loop import Peer
from tests.websocket.case import WebSocketTestCase


class SweepTests(WebSocketTestCase):
    """A revocation while connections are open."""

    def setUp(self) -> None:
        super().setUp()
        self.out: set[str] = set()
        self.looks = 0
        self.reactor = PlainReactor()
        self.sweep = RevocationSweep(self.factory.channels, self.is_revoked, self.reactor)

    def is_revoked(self, principal: IPrincipal) -> bool:
        """Return whether the principal's token is revoked."""
        self.looks += 1
        return principal.name in self.out

    def logged_in(self, name: str) -> Peer:
        """Return the connection of somebody."""
        self.door.principal = Somebody()
        self.door.principal.name = name
        return self.connected_peer()

    def turns(self) -> None:
        """Let the sweep check all connections."""
        while self.reactor.calls:
            self.reactor.turn()

    def test_ends_whom_it_means(self) -> None:
        ann, bea, again = (self.logged_in(name) for name in ("ann", "bea", "ann"))
        self.out = {"ann"}
        self.sweep.start()
        self.turns()
        for peer in (ann, again):
            (error,) = self.stomp(peer)
            self.assertEqual(error.headers["message"], "401 token revoked")
        self.assertEqual(Fault.TOKEN_REVOKED.close_code, 1008)
        self.assertEqual(bea.got(), b"")
        self.assertEqual(self.metrics.errors["token_revoked"], 2)

    def test_close_code(self) -> None:
        ann = self.logged_in("ann")
        self.out = {"ann"}
        self.sweep.start()
        self.turns()
        self.assertEqual(self.closed(ann), (["ERROR"], 1008))

    def test_before_a_login(self) -> None:
        """A connection without a login is not ended; its login is checked later."""
        peer = self.opened()
        self.reach()
        self.sweep.start()
        self.turns()
        self.assertEqual((peer.got(), self.looks), (b"", 0))

    def test_a_part_in_each_turn(self) -> None:
        """Other work gets its turn after a limited number of ends."""
        peers = [self.logged_in("ann") for _ in range(2 * ENDS_PER_TURN + 1)]
        self.out = {"ann"}
        self.sweep.start()
        ended = []
        for _ in range(3):
            self.reactor.turn()
            ended.append(self.metrics.errors["token_revoked"])
        self.assertEqual(ended, [ENDS_PER_TURN, 2 * ENDS_PER_TURN, len(peers)])
        self.assertEqual(self.looks, len(peers))

    def test_gone_meanwhile(self) -> None:
        peers = [self.logged_in("ann") for _ in range(ENDS_PER_TURN + 2)]
        self.out = {"ann"}
        self.sweep.start()
        self.reactor.turn()
        for peer in peers:
            peer.lose()
        self.turns()
        self.assertEqual(self.factory.channels, {})

    def test_another_revocation_meanwhile(self) -> None:
        """Another revocation starts a full sweep after the present one; sweeps never overlap."""
        others = [self.logged_in("bea") for _ in range(3)]
        peers = [self.logged_in("ann") for _ in range(2 * ENDS_PER_TURN)]
        self.out = {"ann"}
        self.sweep.start()
        self.reactor.turn()
        self.out.add("bea")
        self.sweep.start()
        self.turns()
        self.assertEqual(self.metrics.errors["token_revoked"], len(peers) + len(others))
        self.assertLessEqual(self.looks, len(peers) + 2 * len(others))

    def test_revocations_in_every_turn(self) -> None:
        """Each connection is checked, however fast revocations arrive."""
        self.patch(airyd.websocket.revocation_sweep, "CHECKS_PER_TURN", 2)
        names = {f"user-{number}" for number in range(7)}
        for name in names:
            self.logged_in(name)
        seen = set()

        def is_revoked(principal: IPrincipal) -> bool:
            seen.add(principal.name)
            return False

        sweep = RevocationSweep(self.factory.channels, is_revoked, self.reactor)
        for _ in range(4):
            sweep.start()
            self.reactor.turn()
        self.assertEqual(seen, names)

    def test_a_bug(self) -> None:
        """An exception in one connection does not spare the others."""
        ann, bea = self.logged_in("ann"), self.logged_in("bea")

        def is_revoked(principal: IPrincipal) -> bool:
            if principal.name == "ann":
                raise ZeroDivisionError
            return True

        sweep = RevocationSweep(self.factory.channels, is_revoked, self.reactor)
        for _ in range(2):
            sweep.start()
            while self.reactor.calls:
                with contextlib.suppress(ZeroDivisionError):
                    self.reactor.turn()
        self.assertEqual((ann.got(), self.closed(bea)), (b"", (["ERROR"], 1008)))
