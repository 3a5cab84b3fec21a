"""Token refresh: a new token on an open connection must belong to the same user, and changes the client's rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from twisted.logger import Logger

from airyd import notices
from airyd.client.context import ClientContext
from airyd.client.wildcard import SubscriptionKey, Wildcard, WildcardOwner
from airyd.errors import Fault, LoginFault, LoginRefused, StompError
from airyd.events import STATUS
from airyd.hub.filter_index import values_of
from airyd.hub.pacing import VALUES_PER_TURN
from airyd.hub.subscription import Subscription, SubscriptionState
from airyd.interfaces import NO_OPENING, Credentials, IPrincipal
from airyd.metrics import Metrics
from airyd.stomp.requests import Refresh

_log: Final = Logger()

#: Seconds before its login expires at which a client is notified.
NOTICE: Final = 60.0
#: A subscription counts as at least so many values of a row filter: it may be sent pending events.
_LEAST_VALUES: Final = 100
#: The faults that end a login: the client may do nothing more, not even continue a COMMIT.
LOGIN_OVER: Final = (Fault.TOKEN_EXPIRED, Fault.TOKEN_REVOKED)


def credentials_of(request: Refresh, peer: str) -> Credentials:
    """Return the credentials for an authenticator: the token, as if a CONNECT's ``Authorization`` header held it."""
    return Credentials(None, None, {"Authorization": request.token}, NO_OPENING, peer)


def check_subject(before: IPrincipal, after: IPrincipal, metrics: Metrics, peer: str) -> None:
    """Raise ``LoginRefused`` if a new token belongs to another user; count and log that, since the token is valid.

    A user is a name and the authenticator that vouches for it.
    """
    if (before.name, before.authority) != (after.name, after.authority):
        refusal = LoginRefused(LoginFault.SUBJECT, "it belongs to another user than the connected one")
        metrics.logins_refused[refusal.fault.value] += 1
        _log.info(
            "a new token of {peer} refused, subject: {reason}",
            peer=peer,
            reason=refusal.reason,
            once_a_minute="new token",
        )
        raise refusal


def apply_rights(client: WildcardOwner, principal: IPrincipal, context: ClientContext) -> Iterator[None]:
    """Apply the new rights to a client's subscriptions; end those that they no longer allow.

    Yields when others should have a turn of the reactor. Until it is exhausted, the rest of the subscriptions have the
    old rights. It takes account of subscriptions that end or begin meanwhile, the latter with the new rights.

    Pending events are sent under the old rights; a replay applies the new ones to all that it still sends
    (``Subscription.apply_filter``). The client is notified on ``/airyd/status`` of each subscription that ends.

    Raises ``StompError`` if it can't be notified: a client must never wait for events that don't come.
    """
    room = VALUES_PER_TURN
    for destination in _apply_to_each(client, principal, context):
        room -= max(values_of(principal.row_filter(destination)), _LEAST_VALUES)
        if room <= 0:
            yield
            room = VALUES_PER_TURN


def _apply_to_each(client: WildcardOwner, principal: IPrincipal, context: ClientContext) -> Iterator[str]:
    """Apply the rights to one subscription after the other; yield the destination of each."""
    for key, subscription in tuple(client.subscribed.items()):
        if client.subscribed.get(key) is not subscription:  # it has ended meanwhile
            continue
        if isinstance(subscription, Wildcard):
            for name, has_ended in subscription.apply_rights(principal):
                if has_ended:
                    _notify_end(client, key, name)
                yield name
        elif type(subscription) is Subscription:  # a wildcard handles its own parts
            name = subscription.destination
            if name == STATUS or subscription.state is SubscriptionState.ENDED:
                continue
            if context.may_subscribe(principal, name):
                subscription.apply_filter(principal.row_filter(name))
            else:
                subscription.flush()
                if client.subscribed.get(key) is subscription:  # else it was too slow, which has ended the client
                    _notify_end(client, key, name)
                if client.subscribed.get(key) is subscription:
                    subscription.close()  # it keeps its id until the client's UNSUBSCRIBE
            yield name


def _notify_end(client: WildcardOwner, key: SubscriptionKey, destination: str) -> None:
    if not client.notify(notices.subscription_ended(str(key), destination)):
        raise StompError(Fault.FORBIDDEN, f"With the new token you may not subscribe to {destination}.")
