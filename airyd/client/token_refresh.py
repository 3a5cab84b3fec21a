"""A new token on a connection that goes on: whose it must be, and what its rights change."""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger

from airyd import notices
from airyd.client.wildcard import SubscriptionKey, Wildcard, WildcardOwner
from airyd.errors import Fault, LoginFault, LoginRefused, StompError
from airyd.events import STATUS
from airyd.hub.subscription import Subscription, SubscriptionState
from airyd.interfaces import NO_OPENING, Credentials, IPrincipal
from airyd.metrics import Metrics
from airyd.stomp.requests import Refresh

_log: Final = Logger()

#: Seconds before the end of its login at which a client is notified of it.
NOTICE: Final = 60.0
#: How a login ends before its connection: the client may do nothing any more, nor go on with a COMMIT.
LOGIN_OVER: Final = (Fault.TOKEN_EXPIRED, Fault.TOKEN_REVOKED)


def credentials_of(request: Refresh, peer: str) -> Credentials:
    """Return what an authenticator is to look at: the token, as if it stood in a CONNECT."""
    return Credentials(None, None, {"Authorization": request.token}, NO_OPENING, peer)


def check_subject(before: IPrincipal, after: IPrincipal, metrics: Metrics, peer: str) -> None:
    """Raise ``LoginRefused`` if a new token is another user's; count and log that here, since the token is good.

    A user is a name and the authenticator that vouches for it.
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


def apply_rights(client: WildcardOwner, principal: IPrincipal) -> None:
    """Apply the new rights to a client's subscriptions; end those that they no longer allow.

    What was published before is sent as it was allowed then, but for what a replay has still to send
    (``Subscription.apply_filter``). The client is notified on ``/airyd/status`` of what has ended.

    Raises ``StompError`` if it can't be notified: a client must never wait for events that don't come.
    """
    for key, subscription in tuple(client.subscribed.items()):
        if client.subscribed.get(key) is not subscription:  # the sends before have found the client too slow
            continue
        if isinstance(subscription, Wildcard):
            for name in subscription.apply_rights(principal):
                _notify_end(client, key, name)
        elif type(subscription) is Subscription:  # a wildcard sees to its parts
            name = subscription.destination
            if name == STATUS or subscription.state is SubscriptionState.ENDED:
                continue
            if principal.may_subscribe(name):
                subscription.apply_filter(principal.row_filter(name))
                continue
            subscription.flush()
            if client.subscribed.get(key) is subscription:
                _notify_end(client, key, name)
            if client.subscribed.get(key) is subscription:
                subscription.close()  # it stays under its id, until the client's UNSUBSCRIBE


def _notify_end(client: WildcardOwner, key: SubscriptionKey, destination: str) -> None:
    if not client.notify(notices.subscription_ended(str(key), destination)):
        raise StompError(Fault.FORBIDDEN, f"With the new token you may not subscribe to {destination}.")
