"""A new token on a connection that goes on: what changes with it, and when a client is told that it is time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from twisted.logger import Logger

from airyd.client.wildcard import Key, Owner, Wildcard
from airyd.errors import Fault, LoginFault, LoginRefused, StompError
from airyd.events import STATUS
from airyd.hub.interfaces import Listener
from airyd.hub.subscription import ENDED, Subscription
from airyd.interfaces import NO_OPENING, Credentials, IPrincipal
from airyd.metrics import Metrics
from airyd.stomp.requests import Refresh

_log: Final = Logger()

#: Seconds before its login ends, at which a client is told that it is about to.
NOTICE: Final = 60.0
#: How a login ends before its connection: whoever had it may do nothing any more, nor go on with a COMMIT.
LOGIN_OVER: Final = (Fault.TOKEN_EXPIRED, Fault.TOKEN_REVOKED)


def credentials_of(request: Refresh, peer: str) -> Credentials:
    """Return what an authenticator is to look at: the token, as if it stood in a CONNECT."""
    return Credentials(None, None, {"Authorization": request.token}, NO_OPENING, peer)


def check_subject(before: IPrincipal, after: IPrincipal, metrics: Metrics, peer: str) -> None:
    """Raise ``LoginRefused`` if a good token is somebody else's, who may connect: it is counted and logged here.

    The same name is somebody else's where another authenticator says so.
    """
    if (before.name, before.authority) != (after.name, after.authority):
        refusal = LoginRefused(LoginFault.SUBJECT, "it is not that of the one who is connected")
        metrics.logins_refused[refusal.fault.value] += 1
        _log.info(
            "a new token of {peer} refused, subject: {reason}",
            peer=peer,
            reason=refusal.reason,
            once_a_minute="new token",
        )
        raise refusal


def warn(listeners: Iterable[Listener], left: float) -> None:
    """Tell a client by those of its subscriptions by which it can be told that its login ends in so many seconds."""
    for one in tuple(listeners):
        one.hear(lambda voice: voice.expiring(left))


def allow(client: Owner, principal: IPrincipal) -> None:
    """Let a client's subscriptions see what the new login may, from now on; those that it may not have end.

    What was published before is sent as it was allowed then, but for what a subscription with a delivery of its own has
    still to send (``Subscription.see``). The client hears on ``/airyd/status`` what has ended.

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
                _tell(client, key, name)
            if client.subscribed.get(key) is subscription:
                # First of all: where its SUBSCRIBE was under way, an UNSUBSCRIBE may begin now that waited for it.
                client.subscribed[key] = ENDED
                subscription.close()


def _tell(client: Owner, key: Key, destination: str) -> None:
    if True not in [one.hear(lambda voice: voice.ended(str(key), destination)) for one in tuple(client.listeners)]:
        raise StompError(Fault.FORBIDDEN, f"With the new token you may not subscribe to {destination}.")
