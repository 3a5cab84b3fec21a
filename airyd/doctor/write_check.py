"""Sends a test event through a stream or channel of its own in Redis, and deletes the stream afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import Final, NoReturn

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from txredisapi import ResponseError
from zope.interface import implementer

from airyd.doctor.findings import DoctorReport
from airyd.doctor.redis_probe import RedisProbe
from airyd.errors import PayloadRefused, SourceUnavailable
from airyd.events import Event
from airyd.interfaces import IEventSink, IEventSource, SourceContext
from airyd.limits import SOURCE_PATIENCE
from airyd.sources import make_source

#: The start of the destination's name; airyd reserves it, so no operator's destination begins with it.
_DESTINATION: Final = "/airyd/doctor-"
_BODY: Final = b'{"id":"airyd-doctor"}'


async def check_writing(probe: RedisProbe, report: DoctorReport, url: str, context: SourceContext) -> None:
    """Publish an event as airyd does, and wait until it arrives as airyd's events do.

    :param url: the source's URL without ``destinations=``
    """
    destination = f"{_DESTINATION}{token_hex(8)}"
    key = f"{probe.target.prefix}{destination}"
    is_stream = probe.target.mode == "stream"
    if is_stream:
        right = await probe.ask("DEL", key)
        if isinstance(right, ResponseError):
            report.warn(
                "test-event",
                probe.name,
                f"not sent, because its stream could not be deleted: {right}",
                "ACL SETUSER <user of the doctor> +del, or leave --write out",
            )
            return
    clock = IReactorTime(context.reactor)
    source = make_source(url, context._replace(destinations=(destination,)))
    try:
        seconds = await _send(source, destination, clock)
    except SourceUnavailable as error:
        report.fail(
            "test-event", probe.name, str(error).rstrip("."), "look at the other findings: rights, memory, role"
        )
    else:
        report.ok("test-event", probe.name, f"a test event came back within {seconds * 1000:.0f} ms")
    finally:
        await source.stop()
        if is_stream:
            await _delete(probe, report, key)


async def _delete(probe: RedisProbe, report: DoctorReport, key: str) -> None:
    try:
        reply = await probe.ask("DEL", key)
        trouble = str(reply) if isinstance(reply, ResponseError) else None
    except SourceUnavailable as error:
        trouble = str(error)
    if trouble is not None:
        report.fail("test-event", probe.name, f"the stream {key} was not deleted: {trouble}", f"DEL {key}")


async def _send(source: IEventSource, destination: str, clock: IReactorTime) -> float:
    """Return the seconds from publishing to delivery; raises ``SourceUnavailable``."""
    sink = _Sink()

    def late(result: object, seconds: float) -> NoReturn:
        raise SourceUnavailable("; ".join(source.health()) or f"no answer within {seconds:g} s")

    starting = maybeDeferred(source.start, sink)
    starting.addErrback(lambda failure: failure.trap(SourceUnavailable) and None)  # stopped before it was reached
    await source.watch(destination).addTimeout(SOURCE_PATIENCE, clock, late)
    began = clock.seconds()
    await source.publish(destination, _BODY).addTimeout(SOURCE_PATIENCE, clock, late)
    await sink.arrived.addTimeout(SOURCE_PATIENCE, clock, late)
    return clock.seconds() - began


@implementer(IEventSink)
class _Sink:
    """Waits for the test event.

    :ivar arrived: fires when it is delivered
    """

    def __init__(self) -> None:
        self.arrived: Deferred[None] = Deferred()

    def deliver(self, events: Sequence[Event]) -> None:
        """See ``IEventSink``."""
        if not self.arrived.called and any(event.body == _BODY for event in events):
            self.arrived.callback(None)

    def gap(self, destinations: Sequence[str], reason: str) -> None:
        """See ``IEventSink``."""

    def refused(self, destination: str, event_id: str, refusal: PayloadRefused) -> None:
        """See ``IEventSink``."""
