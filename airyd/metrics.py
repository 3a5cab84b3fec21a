"""Metrics: the table of all Prometheus metrics, and the registry that ``/metrics`` exports.

The code increments plain integers and ``collections.Counter`` objects; prometheus_client reads them
only at a scrape. The fields of :class:`Metrics` define the names, help texts and labels, in this
place only.
"""

# ruff: noqa: RUF009  # _gauge and _counter return dataclass fields

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass, field, fields
from typing import Any, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from airyd import __version__
from airyd.errors import Fault, LoginFault
from airyd.stomp.spec import Command

#: Ends of a connection without a :class:`~airyd.errors.Fault`: after DISCONNECT, by the client's close frame, by loss
#: of TCP without a close frame, and by a violation of RFC 6455.
CLOSED_NORMALLY: Final = "normal"
CLOSED_BY_CLIENT: Final = "client"
CLOSED_LOST: Final = "lost"
CLOSED_WEBSOCKET: Final = "websocket"
#: The opening handshake was answered with an HTTP error.
CLOSED_REFUSED: Final = "refused"
#: The origin of an event or a refused body: a SEND, the admin page, the source itself.
ORIGIN_SEND: Final = "send"
ORIGIN_ADMIN: Final = "admin"
ORIGIN_SOURCE: Final = "source"
#: The gauges that are 0 or 1.
SOURCE_UP: Final = "airyd_source_up"
LOGIN_UP: Final = "airyd_login_up"
#: How a resume ended: proved complete, refused, or aborted because history was lost meanwhile.
REPLAY_RECOVERED: Final = "recovered"
REPLAY_UNRECOVERED: Final = "unrecovered"
REPLAY_LOST: Final = "lost"

_FAULTS = tuple(fault.kind for fault in Fault)
_CLOSES = (CLOSED_NORMALLY, CLOSED_BY_CLIENT, CLOSED_LOST, CLOSED_WEBSOCKET, CLOSED_REFUSED, *_FAULTS)
_LOGIN_FAULTS = tuple(fault.value for fault in LoginFault)
_ORIGINS = (ORIGIN_SEND, ORIGIN_ADMIN, ORIGIN_SOURCE)
_OUTCOMES = (REPLAY_RECOVERED, REPLAY_UNRECOVERED, REPLAY_LOST)


def _gauge(name: str, help_text: str, *labels: str) -> Any:
    """Make a gauge field of :class:`Metrics`: a Counter if it has labels, else an int."""
    return _field(GaugeMetricFamily, name, help_text, labels, ())


def _counter(name: str, help_text: str, *labels: str, known: Iterable[str] = ()) -> Any:
    """Make a counter field of :class:`Metrics`.

    :param known: the values of its label that are exported as 0 from the start
    """
    return _field(CounterMetricFamily, name, help_text, labels, known)


def _field(family: type[Metric], name: str, help_text: str, labels: tuple[str, ...], known: Iterable[str]) -> Any:
    metadata = {"family": family, "name": f"airyd_{name}", "help": help_text, "labels": labels}
    if labels:
        return field(default_factory=lambda: Counter(dict.fromkeys(known, 0)), metadata=metadata)
    return field(default=0, metadata=metadata)


@dataclass(slots=True, eq=False)
class Metrics:
    """The metrics of one process: increment the fields directly; a registry collects the object at each scrape.

    A field with one label is keyed by its value, a field with two labels by the tuple of their values.
    Keys must come from bounded sets: the catalogue's destinations, constants of this module, fault kinds.

    :param destinations: the catalogue; each is exported as 0 from the start, so that ``rate()`` sees the first event
    """

    destinations: InitVar[Iterable[str]] = ()

    connections: int = _gauge("connections", "Open TCP connections of clients.")
    sessions: int = _gauge("sessions", "Clients that are logged in: from CONNECTED to the end of the connection.")
    subscriptions: Counter[str] = _gauge("subscriptions", "Open subscriptions.", "destination")
    buffered_clients: int = _gauge("buffered_clients", "Clients for which bytes are queued.")

    connections_opened: int = _counter("connections_opened", "TCP connections that clients opened.")
    connections_closed: Counter[str] = _counter(
        "connections_closed",
        "Connections that ended: normal (after DISCONNECT), client (its close frame), lost (TCP connection lost), "
        "websocket (violation of RFC 6455), refused (opening handshake), or the fault that ended them.",
        "kind",
        known=_CLOSES,
    )
    handshakes_refused: Counter[int] = _counter(
        "handshakes_refused", "Opening handshakes that were refused, by HTTP status.", "status"
    )
    errors: Counter[str] = _counter("errors", "ERROR frames, by fault.", "kind", known=_FAULTS)
    logins_refused: Counter[str] = _counter(
        "logins_refused", "Logins that were refused, by reason.", "reason", known=_LOGIN_FAULTS
    )
    refreshes: int = _counter("logins_refreshed", "Tokens that replaced an earlier token on an open connection.")
    events_in: Counter[str] = _counter("events_received", "Events received from the source.", "destination")
    payloads_refused: Counter[tuple[str, str]] = _counter(
        "payloads_refused",
        "Event bodies that broke the payload rules, by origin (send, admin or source) and rule.",
        "origin",
        "kind",
    )
    published: Counter[str] = _counter(
        "events_published", "Published events that the source accepted, by origin.", "origin", known=_ORIGINS
    )
    deliveries: Counter[str] = _counter("deliveries", "MESSAGE frames handed to clients.", "destination")
    bytes_out: int = _counter("sent_bytes", "Wire bytes of the MESSAGE frames handed to clients.")
    flushes: int = _counter("flushes", "Batches of pending events that were sent to a destination's subscribers.")
    replays: Counter[str] = _counter(
        "replays",
        "Resumes: recovered, unrecovered (nothing replayed), lost (history was lost during the replay).",
        "outcome",
        known=_OUTCOMES,
    )
    replayed: int = _counter("events_replayed", "Events read from the history for resumes.")
    acks: int = _counter("acks", "ACK frames of clients that settled a message.")
    nacks: int = _counter("nacks", "NACK frames of clients that settled a message.")
    late: Counter[str] = _counter(
        "late_frames",
        "Late frames: ACK and NACK for messages already settled or of an ended subscription, UNSUBSCRIBE for an "
        "ended subscription.",
        "command",
        known=(Command.ACK, Command.NACK, Command.UNSUBSCRIBE),
    )
    gaps: Counter[str] = _counter("gaps", "Gaps: the source reported that it may have missed events.", "destination")
    heartbeats_out: int = _counter("heartbeats_sent", "Heart-beats sent to clients.")
    stalls: int = _counter("stalls", "Times that a client's socket was full, so that airyd had to buffer.")

    #: Returns at each scrape whether the source is reachable; None while there is no source.
    source_up: Callable[[], bool] | None = None
    #: Returns at each scrape whether logins can be checked with current keys; None while there is no authenticator.
    login_up: Callable[[], bool] | None = None

    def __post_init__(self, destinations: Iterable[str]) -> None:
        self.extend(destinations)

    def extend(self, destinations: Iterable[str]) -> None:
        """Export these destinations as 0."""
        names = tuple(destinations)
        for counter in (self.subscriptions, self.events_in, self.deliveries, self.gaps):
            counter.update(dict.fromkeys(names, 0))

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as prometheus_client's families: the interface of its collectors."""
        build = InfoMetricFamily("airyd_build", "The running version of airyd.")
        build.add_metric((), {"version": __version__})
        yield build
        if self.source_up is not None:
            yield GaugeMetricFamily(SOURCE_UP, "Whether the event source is reachable.", int(self.source_up()))
        if self.login_up is not None:
            help_text = "Whether logins can be checked with current keys."
            yield GaugeMetricFamily(LOGIN_UP, help_text, int(self.login_up()))
        yield from _families(self)


@dataclass(slots=True, eq=False)
class WorkersMetrics:
    """The metrics of the parent of several workers; it also exports the sums of the workers' :class:`Metrics`."""

    workers: int = _gauge("workers", "Worker processes that accept clients.")
    restarts: int = _counter("worker_restarts", "Times that a worker was restarted after its process had ended.")
    hangs: int = _counter("worker_hangs", "Times that a worker was killed because it did not answer.")

    def collect(self) -> Iterator[Metric]:
        """Yield them as prometheus_client's families."""
        yield from _families(self)


@dataclass(slots=True, eq=False)
class LogMetrics:
    """The metrics of a process's log."""

    dropped: int = _counter("log_lines_dropped", "Log lines that were dropped because they were not read in time.")

    def collect(self) -> Iterator[Metric]:
        """Yield them as prometheus_client's families."""
        yield from _families(self)


def _families(counts: Metrics | WorkersMetrics | LogMetrics) -> Iterator[Metric]:
    for each in fields(counts):
        if not each.metadata:
            continue
        labels = each.metadata["labels"]
        family = each.metadata["family"](each.metadata["name"], each.metadata["help"], labels=labels or None)
        value = getattr(counts, each.name)
        if not labels:
            family.add_metric((), value)
        else:
            for key, count in value.items():
                family.add_metric(key if isinstance(key, tuple) else (str(key),), count)
        yield family


def make_registry(metrics: Metrics) -> CollectorRegistry:
    """Return the registry of ``/metrics``: the metrics of airyd, of the process, its garbage collector and Python."""
    registry = CollectorRegistry()
    registry.register(metrics)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry
