"""Which destinations ``airyd tail`` subscribes to, connection after connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from airyd.cli.stomp_client import Refused, Subscribed
from airyd.errors import Fault
from airyd.events import AIRY_DESTINATIONS, STATUS
from airyd.patterns import ANY_SEGMENT, Pattern


class Following:
    """Turns what the user asked for into subscriptions that can be resumed.

    A pattern's subscription has no position. So each destination of a pattern that is known, because it is one of
    Airy's or had an event already, is also subscribed to by its name; the pattern is for what is not known yet.

    :param wanted: names, and patterns
    :ivar positions: per destination where to resume; see :class:`~airyd.cli.stomp_client.StompClient`
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = wanted
        self._patterns: Final = [Pattern(each) for each in wanted if ANY_SEGMENT in each]
        self.positions: dict[str, str] = {}
        self._forbidden: list[str] = []
        self._unknown: set[str] = set()
        # Whether a connection can't have so many subscriptions that known destinations come by their names, too.
        self._is_full = False
        self._said: list[str] = []
        self._asked: Sequence[str] = ()
        self._standing: list[Subscribed] = []
        self._has_stood = False
        self._is_first = True

    def includes(self, destination: str) -> bool:
        """Say whether a destination is asked for, by its name or a pattern."""
        return destination in self._wanted or any(pattern.matches(destination) for pattern in self._patterns)

    def known(self) -> Sequence[str]:
        """Return the destinations that are followed, as far as their names are known."""
        names = self._wanted if self._is_full else (*self._wanted, *AIRY_DESTINATIONS, *self.positions)
        return [name for name in dict.fromkeys(names) if ANY_SEGMENT not in name and self.includes(name)]

    def allow_all(self) -> None:
        """Ask for everything again: there is another token."""
        self._forbidden = []

    def begin(self) -> Sequence[str]:
        """Return what a new connection subscribes to; empty if nothing is left."""
        self._asked = [
            name
            for name in dict.fromkeys((*self._wanted, *self.known()))
            if name not in self._forbidden and name not in self._unknown
        ]
        self._standing = []
        self._is_first = not self._has_stood
        return self._asked

    def leave_out(self, error: Refused) -> bool:
        """Ask no more for what was refused; return False if the user has to know, and nothing else can be done."""
        if error.message == Fault.TOO_MANY_SUBSCRIPTIONS.message:
            was_full, self._is_full = self._is_full, True
            return not was_full and any(name not in self._wanted for name in self._asked)
        name = error.destination
        if name is None:
            return False
        if error.is_forbidden:
            self._forbidden.append(name)
        elif error.is_unknown and name not in self._wanted:
            self._unknown.add(name)
        else:
            return False
        self.positions.pop(name, None)
        return True

    def left_out(self) -> str:
        """Return what is not followed, and why; empty if everything is."""
        return f"not allowed: {', '.join(self._forbidden)}" if self._forbidden else ""

    def stands(self, subscribed: Subscribed) -> bool:
        """Take down that a subscription is live; return whether all are now."""
        self._standing.append(subscribed)
        self._has_stood = self._has_stood or len(self._standing) == len(self._asked)
        return len(self._standing) == len(self._asked)

    def outcome(self) -> str:
        """Return what is followed now, and what was recovered."""
        names = [name for name in self._asked if ANY_SEGMENT not in name and name != STATUS]
        patterns = [name for name in self._asked if ANY_SEGMENT in name]
        # Before all stood for the first time there was nothing to miss.
        recovered = [each.destination for each in self._standing if each.recovered and not self._is_first]
        if recovered and len(recovered) == len(names) and not patterns:
            outcome = "recovered, nothing was missed"
        elif recovered:
            outcome = f"recovered {', '.join(recovered)}"
        else:
            outcome = f"following {', '.join(name for name in self._asked if name in self._wanted)}"
        if patterns and not self._is_first:
            outcome += f"; other destinations of {', '.join(patterns)} may have missed events"
        if self._forbidden != self._said:
            self._said = list(self._forbidden)
            outcome += f" ({self.left_out()})" if self._forbidden else ""
        return outcome
