"""One client: carries out the requests of its STOMP session (CONNECT, SUBSCRIBE, SEND, ...) and answers them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from sys import intern
from types import MappingProxyType
from typing import Final, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from airyd import notices
from airyd.client.connection_log import ConnectionRecord, printable
from airyd.client.context import NEVER, ClientContext
from airyd.client.pings import Pings
from airyd.client.request_queue import RequestQueue
from airyd.client.timer_wheel import Timer
from airyd.client.token_refresh import LOGIN_OVER, NOTICE, apply_rights, check_subject, credentials_of
from airyd.client.wildcard import SubscriptionKey, Wildcard
from airyd.deferreds import is_deferred, result_of
from airyd.errors import Fault, StompError
from airyd.events import RESERVED_PREFIX, STATUS
from airyd.hub.subscription import Subscription
from airyd.interfaces import Credentials, IChannel, IPrincipal
from airyd.limits import DISCONNECT_PATIENCE, LONGEST_TIMER
from airyd.metrics import ORIGIN_SEND
from airyd.patterns import ANY_SEGMENT
from airyd.stomp import requests
from airyd.stomp.message import HEARTBEAT, Framing
from airyd.stomp.session import Session, subscribe_receipt
from airyd.stomp.spec import Command, Version


class Client:
    """Connects a channel (bytes out), a session (the protocol) and the hub.

    The connection calls :meth:`opened`, :meth:`reduce_token_room`, :meth:`heard`, :meth:`received`,
    :meth:`direct_changed`, :meth:`drained`, :meth:`ended`, :meth:`closing` and :meth:`closed`.

    :ivar agent: the ``User-Agent`` of its opening handshake; None before that, or without one
    :ivar channel: its connection
    :ivar framing: encodes STOMP frames for its transport
    :ivar is_over: whether the client has ended; then all that it sends is ignored
    :ivar number: its connection's number; a later connection of the process has a higher one
    :ivar opened_at: when it connected, in seconds of the reactor
    :ivar principal: who the client is; None before its login, and after the login has ended
    :ivar subscribed: its subscriptions by id, and for a wildcard also one for each destination that it covers
    """

    __slots__ = (
        "_beat_every",
        "_context",
        "_disconnect",
        "_established_at",
        "_events",
        "_heard_at",
        "_is_warned",
        "_pings",
        "_record",
        "_requests",
        "_sent_at",
        "_session",
        "_timer",
        "agent",
        "channel",
        "framing",
        "is_over",
        "number",
        "opened_at",
        "principal",
        "subscribed",
    )

    _log = Logger()

    def __init__(self, context: ClientContext, channel: IChannel, framing: Framing) -> None:
        self.channel = channel
        self.framing = framing
        self.is_over = False
        self.number = context.next_number()
        self.agent: str | None = None
        self._events = 0  # MESSAGEs that it was sent; too few by those that its groups count (airyd.hub.fanout)
        self._context = context
        self._session = Session(context.limits, context.heart_beat)
        self._requests = RequestQueue()
        self.principal: IPrincipal | None = None
        self._record: ConnectionRecord | None = None
        self.subscribed: dict[SubscriptionKey, Subscription | Wildcard] = {}
        self._disconnect: requests.Disconnect | None = None
        self.opened_at = self._heard_at = self._sent_at = self._established_at = context.wheel.seconds()
        self._beat_every = 0.0
        self._is_warned = False
        self._pings: Pings | None = None
        self._timer: Timer = context.wheel.call_later(context.limits.connect_timeout, self._connect_overdue)

    @property
    def version(self) -> Version:
        """The STOMP version of the connection; 1.0 before CONNECT."""
        return self._session.version

    @property
    def context(self) -> ClientContext:
        """What clients share that connected since the last reload, or up to the next one."""
        return self._context

    @property
    def id(self) -> str:
        """The ``session`` header of its CONNECTED, also before that."""
        return self._context.connection_id(self.number)

    @property
    def events(self) -> int:
        """How many MESSAGEs were handed to it, with those that wait for the next flush."""
        return self._events + sum([each.group.counted for each in self.subscribed.values() if each.group is not None])

    @property
    def heart_beat(self) -> tuple[int, int]:
        """The milliseconds between the heart-beats that are sent, and that are expected; 0 for none."""
        return self._session.heart_beat

    @property
    def silence(self) -> float:
        """Seconds since the client has sent anything."""
        return self._context.wheel.seconds() - self._heard_at

    # What the connection calls.

    def opened(self, agent: str | None) -> None:
        """Log that the WebSocket is open; called before the first :meth:`received`.

        :param agent: the ``User-Agent`` of the opening handshake
        """
        if agent is not None:
            self.agent = intern(printable(agent))  # most clients have one of a few
        log = self._context.connection_log
        if log.level is not None:  # else the text of the address is not needed, which takes 0.4 µs
            self._record = log.opened(self.channel.peer)

    def closing(self, count: Callable[[], tuple[int, int] | None]) -> None:
        """Note how many bytes the client has received and sent; ``count`` returns these, if they are logged."""
        if self._record is not None:
            self._record.sent, self._record.received = count() or (None, None)

    def closed(self, reason: str) -> None:
        """Log that the connection has ended; :meth:`ended` was called before.

        :param reason: a kind of ``Metrics.connections_closed``
        """
        if self._record is not None:
            seconds = self._context.wheel.seconds() - self.opened_at
            self._context.connection_log.closed(self._record, self.channel.peer, reason, seconds, self._events)

    def received(self, data: bytes) -> None:
        """Handle a chunk of bytes from the client, which may begin and end anywhere."""
        if not self.is_over:
            self._requests.add(self._session.receive(data), self)

    def reduce_token_room(self, size: int) -> None:
        """See ``Session``."""
        self._session.reduce_token_room(size)

    def heard(self) -> None:
        """Note that the client is alive: it has sent bytes, even if only a part of a frame or a WebSocket pong."""
        self._heard_at = self._context.wheel.seconds()

    def direct_changed(self) -> None:
        """Tell the groups of its subscriptions that ``channel.direct`` has changed."""
        for subscription in self.subscribed.values():
            if subscription.group is not None:
                subscription.group.refresh(subscription)

    @property
    def buffered_mark(self) -> int:
        """See ``Subscriber``."""
        return self._context.limits.effective_mark

    def fall_behind(self) -> None:
        """Let its subscriptions read events from the history: too many bytes wait for the client already."""
        moved = [one.fall_behind() for one in tuple(self.subscribed.values()) if one.group is not None]
        self._context.metrics.fell_behind += any(moved)

    def drained(self) -> None:
        """Continue replays: nothing is buffered for this client any more."""
        for subscription in self.subscribed.values():
            if subscription.replay is not None:
                subscription.replay.continue_reading()

    def ended(self) -> None:
        """End the client, because its connection is closing or lost."""
        if self.is_over:
            return
        self.is_over = True
        self._requests.stop(self)
        self._timer.cancel()
        if self.principal is not None:
            self._context.metrics.sessions -= 1
        subscribed, self.subscribed = self.subscribed, {}
        for subscription in subscribed.values():
            subscription.close()

    def fail(self, error: StompError) -> None:
        """Send an ERROR frame and close the connection; only the first call counts."""
        if self.is_over:
            return
        self.ended()
        if error.fault in LOGIN_OVER:
            self.principal = None
        # The log gets neither the detail nor a header: they may hold what the client sent, such as a token.
        log = self._log.debug if error.fault is Fault.RESTARTING else self._log.info
        log("{peer} gets ERROR {kind}", peer=self.channel.peer, kind=error.fault.kind, once_a_minute=error.fault.kind)
        self._send_frame(self._session.error(error.fault, error.detail, error.receipt))
        self._context.metrics.errors[error.fault.kind] += self.channel.close(error.fault)

    def change_session(self, change: Callable[[Session], Session]) -> None:
        """Replace the session with one in the same state (``airyd.stomp.watched_session``)."""
        self._session = change(self._session)

    # What a subscription calls (airyd.hub.interfaces.Subscriber), besides fail().

    @property
    def can_be_notified(self) -> bool:
        """See ``Subscriber``."""
        return bool(self._notice_carriers)

    def notify(self, notice: bytes) -> bool:
        """Send a notice on ``/airyd/status``; return whether the client subscribes to that."""
        carriers = self._notice_carriers
        for subscription in carriers:
            subscription.notify(notice)
        return bool(carriers)

    @property
    def _notice_carriers(self) -> list[Subscription]:
        return [one for one in self.subscribed.values() if isinstance(one, Subscription) and one.carries_notices]

    def count_events(self, count: int) -> None:
        """See ``Subscriber``."""
        self._events += count

    def answer_subscribe(self, request: requests.Subscribe, position: str, recovered: bool | None) -> None:
        """Send the RECEIPT of a SUBSCRIBE, if the client asked for one (``Subscriber``)."""
        self._established_at = self._context.wheel.seconds()
        if request.receipt is not None:
            self._send_frame(subscribe_receipt(self._session.version, request.receipt, position, recovered))

    def remember_settled(self, request: requests.Subscribe, message_ids: Collection[str]) -> None:
        """See ``Subscriber``."""
        if not self.is_over:
            self._session.remember_settled(request, message_ids)

    def dispatch(self, request: requests.Request) -> Deferred[None] | None:
        """See ``Requester``."""
        return self._HANDLERS[type(request)](self, request)

    def idle(self) -> None:
        """See ``Requester``."""
        if self._disconnect is not None:
            self._finish_disconnect()

    def _connect(self, request: requests.Connect) -> Deferred[None] | None:
        credentials = Credentials(
            request.login, request.passcode, request.headers, self.channel.take_opening(), self.channel.peer
        )
        return self._log_in(credentials, self._accept)

    def _log_in(
        self, credentials: Credentials, accept: Callable[[IPrincipal], Deferred[None] | None]
    ) -> Deferred[None] | None:
        """Check credentials, then call ``accept``."""
        login = self._context.authenticate(credentials)
        return login.addCallback(accept) if is_deferred(login) else accept(cast(IPrincipal, login))

    def _accept(self, principal: IPrincipal) -> None:
        if self.is_over:
            return
        context = self._context
        self.principal = principal
        context.metrics.sessions += 1
        if self._record is not None:
            context.connection_log.logged_in(self._record, self.channel.peer, principal)
        context.logged_in(self.number)
        self._send_frame(self._session.accept(self.id))
        self._timer.cancel()
        self._beat_every = context.wheel.beat_interval(self._session.heart_beat[0] / 1000, self.number)
        if context.ping_interval and not self._session.heart_beat[1]:
            self._pings = Pings(context.ping_interval, context.wheel.seconds())
        self._check_time()
        if self._session.has_held:  # what came behind the CONNECT
            self._requests.add(self._session.receive(b""), self)

    def _subscribe(self, request: requests.Subscribe) -> Deferred[None] | None:
        principal = self.principal
        assert principal is not None  # noqa: S101  # the session returns no other request before accept()
        if ANY_SEGMENT in request.destination:  # no destination has an asterisk in its name
            return self._subscribe_wildcard(Wildcard(self._context, self, request, principal), request)
        subscription = self._context.hub.make_subscription(self, request, principal.row_filter(request.destination))
        if request.destination != STATUS and not self._context.may_subscribe(principal, request.destination):
            raise StompError(Fault.FORBIDDEN, f"You may not subscribe to {request.destination}.", request.receipt)
        most = self._context.limits.subscriptions
        if len(self.subscribed) >= most:  # the session doesn't count the parts of wildcards
            raise StompError(Fault.TOO_MANY_SUBSCRIPTIONS, f"A connection can't have more than {most} subscriptions.")
        self.subscribed[request.id] = subscription
        opening = subscription.open()
        if self._is_warned and request.destination == STATUS:
            subscription.notify(notices.token_expires(self._context.left(principal)))
        return opening

    def _subscribe_wildcard(self, wildcard: Wildcard, request: requests.Subscribe) -> Deferred[None] | None:
        self.subscribed[request.id] = wildcard
        opening = wildcard.open()
        if opening is not None:
            return opening.addCallback(lambda _: self._confirm(request))
        self._confirm(request)
        return None

    def _unsubscribe(self, request: requests.Unsubscribe) -> None:
        if request.id not in self.subscribed:  # it has ended already
            self._context.metrics.late[Command.UNSUBSCRIBE] += 1
            self._receipt(request.receipt)
            return
        self.subscribed[request.id].flush()
        if not self.is_over:  # else the client was too slow for the flush
            self.subscribed.pop(request.id).close()
            self._receipt(request.receipt)

    def _send(self, request: requests.Send) -> Deferred[None] | None:
        publishing = self._publish(request)
        if result_of(publishing) is None:
            return publishing.addCallback(lambda _: self._receipt(request.receipt))
        self._receipt(request.receipt)
        return None

    def _publish(self, request: requests.Send) -> Deferred[str]:
        self._may_send(request)
        return self._context.hub.publish(request.destination, request.body, ORIGIN_SEND)

    def _refresh(self, request: requests.Refresh) -> Deferred[None] | None:
        credentials = credentials_of(request, self.channel.peer)
        return self._log_in(credentials, lambda principal: self._refreshed(principal, request))

    def _refreshed(self, principal: IPrincipal, request: requests.Refresh) -> Deferred[None] | None:
        if self.is_over or self.principal is None:
            return None
        check_subject(self.principal, principal, self._context.metrics, self.channel.peer)
        # The client is notified once for each expiry, also if it sends the same token again.
        self._is_warned = self._is_warned and principal.expires == self.principal.expires
        self.principal = principal
        return Deferred.fromCoroutine(self._apply_rights(principal, request))

    async def _apply_rights(self, principal: IPrincipal, request: requests.Refresh) -> None:
        context = self._context
        for _ in apply_rights(self, principal, context):
            self._established_at = context.wheel.seconds()
            await context.hub.turns.wait()
        # Its subscriptions may have joined other groups. Events that these have already sent did not reach this
        # client, and so do not count as heart-beats in _check_time.
        self._established_at = context.wheel.seconds()
        context.metrics.refreshes += 1
        self._confirm(request)
        if not self.is_over and self._disconnect is None:  # else the timer is that of the DISCONNECT
            self._timer.cancel()
            self._check_time()
        # The client's next token waits: a chunk of bytes may have hundreds, each for hundreds of subscriptions.
        await context.wheel.next_turn()

    def _may_send(self, request: requests.Send) -> None:
        name, principal = request.destination, self.principal
        is_receive_only = name.startswith(RESERVED_PREFIX) or self._context.hub.is_user_destination(name)
        if is_receive_only or principal is None or not principal.may_send(name):
            raise StompError(Fault.FORBIDDEN, f"You may not send to {name}.", request.receipt)

    def _settle(self, request: requests.Ack) -> None:
        metrics = self._context.metrics
        if request.ordinal is None:
            chosen = [one for name, one in self.subscribed.items() if request.subscription_id in (None, name)]
        else:
            chosen = [one for one in self.subscribed.values() if one.ordinal == request.ordinal]
        if sum([subscription.settle(request.message_id) for subscription in chosen]):
            metrics.acks += request.positive
            metrics.nacks += not request.positive
        elif self._session.was_settled(request):
            metrics.late[Command.ACK if request.positive else Command.NACK] += 1
        else:
            text = f"No message {request.message_id[:200]!r} waits for an ACK or NACK."
            raise StompError(Fault.UNKNOWN_MESSAGE, text, request.receipt)
        self._receipt(request.receipt)

    def _confirm(self, request: requests.Request) -> None:
        if not self.is_over:
            self._receipt(request.receipt)

    def _collect(self, request: requests.Collected) -> None:
        if isinstance(request.operation, requests.Send):
            self._may_send(request.operation)
        self._receipt(request.receipt)

    def _commit(self, request: requests.Commit) -> Deferred[None]:
        return Deferred.fromCoroutine(self._run_transaction(request))

    async def _run_transaction(self, request: requests.Commit) -> None:
        for operation in request.operations:
            if isinstance(operation, requests.Send):
                await self._publish(operation)
            elif not self.is_over:  # a SEND is published even if the client has gone
                self._settle(operation)
        self._receipt(request.receipt)

    def _start_disconnect(self, request: requests.Disconnect) -> None:
        self._disconnect = request
        if self._requests.under_way > 1:  # more than this request itself
            self._timer.cancel()
            self._timer = self._context.wheel.call_later(DISCONNECT_PATIENCE, self._finish_disconnect)

    def _finish_disconnect(self) -> None:
        for subscription in tuple(self.subscribed.values()):
            subscription.flush()
        if self.is_over or self._disconnect is None:
            return
        self.ended()
        self._receipt(self._disconnect.receipt)
        self.channel.close(None)

    def _receipt(self, receipt: str | None, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        if receipt is not None:
            self._send_frame(self._session.receipt(receipt, headers))

    def _send_frame(self, frame: bytes) -> None:
        self._sent_at = self._context.wheel.seconds()
        self.channel.send(self.framing((frame,), 1))

    def _connect_overdue(self) -> None:
        self.fail(StompError(Fault.CONNECT_TIMEOUT, f"Connect within {self._context.limits.connect_timeout} seconds."))

    def _check_time(self) -> None:
        """Send a heart-beat that is due, end a client that is silent or whose login has expired, and check again."""
        send_every, expect_every = self._session.heart_beat
        context = self._context
        now = context.wheel.seconds()
        wait = left = context.left(self.principal)
        if wait <= 0:
            self.fail(StompError(Fault.TOKEN_EXPIRED, "Connect again with a new token."))
            return
        if wait > NOTICE:
            wait -= NOTICE
        elif not self._is_warned:
            self._is_warned = True
            self.notify(notices.token_expires(left))
        # A client that isn't being read from doesn't count as silent.
        heard = now if self._requests.is_paused else self._heard_at
        # Nor does time count during which this process was stopped or too busy to read.
        if heard < context.wheel.woke:
            heard = context.wheel.woke
        if expect_every:
            silence = max(2 * expect_every / 1000, context.grace)
            if now - heard > silence:
                self.fail(StompError(Fault.HEARTBEAT_TIMEOUT, f"Nothing came from you for {silence:g} seconds."))
                return
            wait = min(wait, max(heard + silence - now, 1.0))
        elif self._pings is not None:
            next_look = self._pings.ping_if_silent(self.channel, context, heard, now)
            if next_look is None:
                text = f"Nothing came from you for {now - heard:.0f} seconds, not even an answer to a WebSocket ping."
                self.fail(StompError(Fault.HEARTBEAT_TIMEOUT, text))
                return
            wait = min(wait, next_look)
        if send_every:
            last_sent = self._sent_at
            for each in self.subscribed.values():
                # Events count as heart-beats, but those before _established_at may have been sent to others only.
                if each.group is not None and (flushed := each.group.flushed_at) > self._established_at:
                    last_sent = max(last_sent, flushed)
            due = last_sent + self._beat_every
            if due <= now:
                context.metrics.heartbeats_out += 1
                self._send_frame(HEARTBEAT)
                # The next interval begins when this heart-beat was due. If it began now, all clients of one tick could
                # stay in step.
                self._sent_at = max(due, now - 2 * context.wheel.tick)
                due = self._sent_at + self._beat_every
            wait = min(wait, due - now)
        if wait < NEVER and not self.is_over:  # a heart-beat may end a client that is too slow
            self._timer = context.wheel.call_later(max(min(wait, LONGEST_TIMER), 0.0), self._check_time)

    _HANDLERS: Final[Mapping[type[object], Callable[..., Deferred[None] | None]]] = MappingProxyType(
        {
            requests.Connect: _connect,
            requests.Subscribe: _subscribe,
            requests.Unsubscribe: _unsubscribe,
            requests.Send: _send,
            requests.Refresh: _refresh,
            requests.Ack: _settle,
            requests.Begin: _confirm,
            requests.Collected: _collect,
            requests.Abort: _confirm,
            requests.Commit: _commit,
            requests.Disconnect: _start_disconnect,
            requests.Violation: lambda client, request: client.fail(request.error),
        }
    )
