"""Metrics: the table of all Prometheus metrics, and the registry that ``/metrics`` exports.

The code increments plain integers and ``collections.Counter`` objects, and observes durations with
:class:`~airyd.histogram.Histogram`; prometheus_client reads them only at a scrape. Gauges that would cost something on
the hot path are functions, which are called at each scrape. The fields of :class:`Metrics` define the names, help texts
and labels, in this place only.
"""

# ruff: noqa: RUF009  # _gauge, _counter, _histogram and _asked return dataclass fields

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field, fields
from importlib.metadata import version
from itertools import product
from platform import python_version
from typing import Any, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from airyd import __version__
from airyd.errors import Fault, LoginFault, PayloadFault
from airyd.histogram import Histogram
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
#: How a resume ended: proved complete, refused, or aborted because history was lost meanwhile.
REPLAY_RECOVERED: Final = "recovered"
REPLAY_UNRECOVERED: Final = "unrecovered"
REPLAY_LOST: Final = "lost"

_LIBRARIES: Final = {name: version(name) for name in ("twisted", "autobahn", "txredisapi")}
#: The versions of airyd, Python and the libraries that decide most.
VERSIONS: Final[Mapping[str, str]] = {"airyd": __version__, "python": python_version(), **_LIBRARIES}
_INFO: Final = {"version": __version__, **_LIBRARIES}
_FAULTS = tuple(fault.kind for fault in Fault)
_CLOSES = (CLOSED_NORMALLY, CLOSED_BY_CLIENT, CLOSED_LOST, CLOSED_WEBSOCKET, CLOSED_REFUSED, *_FAULTS)
_LOGIN_FAULTS = tuple(fault.value for fault in LoginFault)
_PAYLOAD_FAULTS = tuple(fault.value for fault in PayloadFault)
_ORIGINS = (ORIGIN_SEND, ORIGIN_ADMIN, ORIGIN_SOURCE)
_OUTCOMES = (REPLAY_RECOVERED, REPLAY_UNRECOVERED, REPLAY_LOST)


def _gauge(name: str, help_text: str, *labels: str, default: float = 0, combine: Callable[..., float] = sum) -> Any:
    """Make a gauge field of :class:`Metrics`: a Counter if it has labels, else a number.

    :param combine: see :func:`_asked`
    """
    return _field(GaugeMetricFamily, name, help_text, labels, (), default, combine)


def _counter(name: str, help_text: str, *labels: str, known: Iterable[str | tuple[str, ...]] = ()) -> Any:
    """Make a counter field of :class:`Metrics`.

    :param known: the keys that are exported as 0 from the start, so that ``increase()`` sees the first
    """
    return _field(CounterMetricFamily, name, help_text, labels, known)


def _histogram(name: str, help_text: str) -> Any:
    """Make a histogram field of :class:`Metrics`, for durations in seconds."""
    metadata = {"family": HistogramMetricFamily, "name": f"airyd_{name}", "help": help_text, "labels": ()}
    return field(default_factory=Histogram, metadata=metadata)


def _asked(name: str, help_text: str, *labels: str, combine: Callable[..., float] = sum) -> Any:
    """Make a field of :class:`Metrics` for a gauge that is asked for at each scrape.

    The field is None, so that the gauge is not exported, or a function without parameters. It returns the value; with
    a label, a mapping of the label's values to values.

    :param combine: how the page of several workers makes one value of theirs: ``sum``, ``min`` or ``max``
    """
    metadata = {"family": GaugeMetricFamily, "name": f"airyd_{name}", "help": help_text, "labels": labels}
    return field(default=None, metadata={**metadata, "combine": combine})


def _field(
    family: type[Metric],
    name: str,
    help_text: str,
    labels: tuple[str, ...],
    known: Iterable[str | tuple[str, ...]],
    default: float = 0,
    combine: Callable[..., float] = sum,
) -> Any:
    keys = tuple(known)
    metadata = {"family": family, "name": f"airyd_{name}", "help": help_text, "labels": labels, "combine": combine}
    if labels:
        return field(default_factory=lambda: Counter(dict.fromkeys(keys, 0)), metadata=metadata)
    return field(default=default, metadata=metadata)


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

    # Asked for at each scrape.
    source_up: Callable[[], bool] | None = _asked("source_up", "Whether the event source is reachable.", combine=min)
    login_up: Callable[[], bool] | None = _asked(
        "login_up", "Whether logins can be checked with current keys.", combine=min
    )
    draining: Callable[[], bool] | None = _asked(
        "draining", "Whether the process drains: it refuses new clients and closes those it has."
    )
    buffered_bytes: Callable[[], int] | None = _asked("buffered_bytes", "Bytes that are queued for all clients.")
    slow_clients: Callable[[], int] | None = _asked(
        "slow_clients", "Clients for which bytes have been queued for more than a second."
    )
    catching_up_clients: Callable[[], int] | None = _asked(
        "catching_up_clients",
        "Clients that get history before live events: they resume, or their window of unacknowledged messages is full.",
    )
    lag_entries: Callable[[], Mapping[str, int]] | None = _asked(
        "lag_entries",
        "Entries that a destination is behind its Redis stream. Only destinations with subscriptions are read.",
        "destination",
        combine=max,
    )
    lag_seconds: Callable[[], Mapping[str, float]] | None = _asked(
        "lag_seconds",
        "Seconds that a destination is behind its Redis stream; while Redis does not answer, since it last did.",
        "destination",
        combine=max,
    )
    last_event: Callable[[], Mapping[str, float]] | None = _asked(
        "last_event_seconds",
        "Seconds since the last event of a destination with subscriptions, or since the first of these subscribed.",
        "destination",
        combine=min,
    )
    certificate_end: Callable[[], Mapping[str, float]] | None = _asked(
        "tls_certificate_end_timestamp_seconds",
        "When the first certificate of an endpoint's chain expires, in seconds since 1970.",
        "endpoint",
        combine=min,
    )
    connections_limit: Callable[[], int] | None = _asked(
        "connections_limit", "Connections of clients that the limit of open files allows."
    )
    limits: Callable[[], Mapping[str, int]] | None = _asked(
        "limit", "The limits that are options, in bytes, seconds or a number.", "option", combine=max
    )

    event_age: Histogram = _histogram(
        "event_age_seconds",
        "Age of the oldest event of a batch when the last client was sent it, by the time in the event's id "
        "(Redis Streams only). 0 if the clock of Redis is ahead.",
    )
    fanout: Histogram = _histogram("fanout_seconds", "Time from reading a batch of events to its last send.")
    replay_time: Histogram = _histogram(
        "replay_seconds", "Time from the SUBSCRIBE of a resume that was recovered until the client has every event."
    )
    login_time: Histogram = _histogram("login_seconds", "Time to check the credentials of a client.")
    handshake_time: Histogram = _histogram(
        "handshake_seconds", "Time from the TCP connection of a client to the accepted opening handshake."
    )
    redis_round_trip: Histogram = _histogram(
        "redis_round_trip_seconds", "Time from a command to Redis to its reply, except for those that wait for events."
    )
    reactor_lag: Histogram = _histogram(
        "reactor_lag_seconds", "How late a timer of the reactor was; while it is late, airyd does nothing else."
    )

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
        known=product(_ORIGINS, _PAYLOAD_FAULTS),
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
    replayed: int = _counter("events_replayed", "Events read from the history, for resumes and for slow clients.")
    fell_behind: int = _counter("clients_fell_behind", "Times that a slow client began to read from the history.")
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

    #: The labels of ``airyd_config_info``: what the operator chose, without secrets and addresses.
    config: Mapping[str, str] | None = None

    def __post_init__(self, destinations: Iterable[str]) -> None:
        self.extend(destinations)

    def extend(self, destinations: Iterable[str]) -> None:
        """Export these destinations as 0."""
        names = tuple(destinations)
        for counter in (self.subscriptions, self.events_in, self.deliveries, self.gaps):
            counter.update(dict.fromkeys(names, 0))

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as prometheus_client's families: the interface of its collectors."""
        yield InfoMetricFamily("airyd_build", "The versions of airyd and of the libraries that it runs on.", _INFO)
        if self.config is not None:
            yield InfoMetricFamily("airyd_config", "The configuration, in a few words.", dict(self.config))
        yield from _families(self)


@dataclass(slots=True, eq=False)
class WorkersMetrics:
    """The metrics of the parent of several workers; it also exports the sums of the workers' :class:`Metrics`."""

    workers: int = _gauge("workers", "Worker processes that accept clients.")
    draining: int = _gauge(
        "workers_draining",
        "Worker processes that do not accept clients because a rolling restart replaces them, or because airyd stops.",
    )
    configured: int = _gauge("workers_configured", "Worker processes that there should be (--workers).")
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


@dataclass(slots=True, eq=False)
class ReloadMetrics:
    """The metrics of a process's reloads."""

    success: bool = _gauge(
        "reload_success", "Whether the last reload was applied; 1 before the first.", default=1, combine=min
    )
    applied_at: float = _gauge(
        "last_reload_timestamp_seconds",
        "When the settings in force were read, at the start or at the last reload that was applied, in seconds since "
        "1970.",
        combine=min,
    )

    def collect(self) -> Iterator[Metric]:
        """Yield them as prometheus_client's families."""
        yield from _families(self)


def _families(counts: Metrics | WorkersMetrics | LogMetrics | ReloadMetrics) -> Iterator[Metric]:
    for each in fields(counts):
        value = getattr(counts, each.name)
        if not each.metadata or value is None:
            continue
        labels = each.metadata["labels"]
        family = each.metadata["family"](each.metadata["name"], each.metadata["help"], labels=labels or None)
        if callable(value):
            value = value()
        if isinstance(value, Histogram):
            family.add_metric((), list(value.buckets()), value.sum)
        elif not labels:
            family.add_metric((), int(value) if isinstance(value, bool) else value)
        else:
            for key, count in value.items():
                family.add_metric(key if isinstance(key, tuple) else (str(key),), count)
        yield family


def _combined() -> Iterator[tuple[str, Callable[..., float]]]:
    for each in (*fields(Metrics), *fields(ReloadMetrics)):
        combine = each.metadata.get("combine", sum)
        if combine is not sum:
            yield each.metadata["name"], combine


#: How the page of several workers makes one value of theirs, for the gauges that are not summed: ``min`` or ``max``.
COMBINED: Final[Mapping[str, Callable[..., float]]] = dict(_combined())


def make_registry(metrics: Metrics) -> CollectorRegistry:
    """Return the registry of ``/metrics``: the metrics of airyd, of the process, its garbage collector and Python."""
    registry = CollectorRegistry()
    registry.register(metrics)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry
