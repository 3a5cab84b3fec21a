"""A new token on a connection that goes on: what changes with it, and when a client is told that it is time."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from airyd.destination import Subscription
from airyd.errors import Fault, LoginFault, LoginRefused, StompError
from airyd.events import STATUS
from airyd.interfaces import NO_OPENING, Credentials, IPrincipal
from airyd.stomp.requests import Refresh
from airyd.subscriber import Voice
from airyd.wildcards import Key, Owner, Wildcard

#: Seconds before its login ends, at which a client is told that it is about to.
NOTICE: Final = 60.0


class Ended:
    """Stands in for a subscription that a new token ended, until the client takes notice of that.

    Its UNSUBSCRIBE and ACKs may be on their way: they are no faults.
    """

    __slots__ = ()

    group: ClassVar[None] = None
    delivery: ClassVar[None] = None
    hears: ClassVar[bool] = False

    def flush(self) -> None:
        """There is nothing to send."""

    def close(self) -> None:
        """There is nothing to end."""

    def settle(self, wire_id: str) -> int:
        """Take any acknowledgement."""
        return 1

    def hear(self, say: Callable[[Voice], object]) -> bool:
        """Say no (``Listener``)."""
        return False


ENDED: Final = Ended()


def credentials_of(request: Refresh, peer: str) -> Credentials:
    """Return what an authenticator is to look at: the token, as if it stood in a CONNECT."""
    return Credentials(None, None, {"Authorization": request.token}, NO_OPENING, peer)


def check_subject(before: IPrincipal, after: IPrincipal) -> None:
    """Raise ``LoginRefused`` if a token is somebody else's: whoever that is can connect."""
    if before.name != after.name:
        raise LoginRefused(LoginFault.SUBJECT, "the token is another subject's than the connection")


def allow(client: Owner, principal: IPrincipal) -> None:
    """Let a client's subscriptions see what the new login may, from now on; those that it may not have end.

    What was published before is sent as it was allowed then. The client hears on ``/airyd/status`` what has ended.

    Raises ``StompError`` if it can't: a client must never wait for events that don't come.
    """
    for key, subscription in tuple(client.subscribed.items()):
        if client.subscribed.get(key) is not subscription:  # the sends before have found the client too slow
            continue
        if isinstance(subscription, Wildcard):
            for name in subscription.allow(principal):
                _tell(client, key, name)
        elif type(subscription) is Subscription:  # a wildcard sees to its parts
            name = subscription.destination
            if name == STATUS:
                continue
            if principal.may_subscribe(name):
                subscription.see(principal.row_filter(name))
                continue
            subscription.flush()
            if client.subscribed.get(key) is subscription:
                subscription.close()
                client.subscribed[key] = ENDED
                _tell(client, key, name)


def _tell(client: Owner, key: Key, destination: str) -> None:
    if True not in [one.hear(lambda voice: voice.ended(str(key), destination)) for one in tuple(client.listeners)]:
        raise StompError(Fault.FORBIDDEN, f"With the new token you may not subscribe to {destination}.")
