"""Asks a running airyd whether it is ready, and how far it is behind its streams."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.threads import deferToThread

from airyd.doctor.findings import DoctorReport
from airyd.doctor.port_owner import owner_of_peer
from airyd.limits import MIB
from airyd.listening.endpoint_strings import EndpointText

#: Seconds that a program on a port may take to answer.
_PATIENCE: Final = 3.0
#: The first part of the header Server, on both of airyd's ports.
_AIRYD: Final = "airyd/"
#: What a proxy that speaks the PROXY protocol sends for a client on this machine.
_PROXY: Final = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n"
_LONGEST: Final = 16 * MIB
_RUNNING: Final = "the running airyd"
#: The gauges of a destination's lag.
_ENTRIES: Final = "airyd_lag_entries"
_SECONDS: Final = "airyd_lag_seconds"
#: Seconds that a destination may be behind its stream.
_MOST_LAG: Final = 5.0


class AdminToken(NamedTuple):
    """The admin token, and who may get it.

    :ivar text: None if none is configured
    :ivar users: the numbers of the users whose airyd may get it: those who can read its file anyhow
    """

    text: str | None
    users: Collection[int]


class _Page(NamedTuple):
    server: str
    status: int
    body: bytes

    @property
    def is_of_airyd(self) -> bool:
        return self.server.startswith(_AIRYD)


class _Answers(NamedTuple):
    """What a running airyd says.

    :ivar metrics: None if they were not asked for, because the admin token must not be sent
    :ivar owner: the number of the user who has the admin port; None if that can't be known
    """

    readiness: _Page
    metrics: _Page | None
    owner: int | None


def is_airyd(text: EndpointText) -> bool:
    """Return whether airyd answers at an endpoint (call it in a thread)."""
    try:
        with _connected(text) as connection:
            return _get(connection, "/healthz").is_of_airyd
    except (OSError, HTTPException):
        return False


def _ask(text: EndpointText, token: AdminToken) -> _Answers | None:
    """Return what airyd says at an endpoint; None if something else answers, or nothing.

    A program of another user may have taken the port. So the token is sent only on a connection whose other end has
    answered as airyd does and belongs to a user who may get the token.
    """
    try:
        with _connected(text) as connection:
            readiness = _get(connection, "/readyz")
            if not readiness.is_of_airyd:
                return None
            if token.text is None:
                return _Answers(readiness, _get(connection, "/metrics"), None)
            owner = owner_of_peer(connection.sock) if connection.sock is not None else None  # unless it was closed
            if owner not in token.users:
                return _Answers(readiness, None, owner)
            return _Answers(readiness, _get(connection, "/metrics", token.text), owner)
    except (OSError, HTTPException):
        return None


@contextmanager
def _connected(text: EndpointText) -> Iterator[HTTPConnection]:
    """Connect to an endpoint. Errors, here and in :func:`_get`: ``OSError``, ``HTTPException``."""
    with _connect(text.wrapped or text) as plain:
        connection = HTTPConnection("localhost")
        connection.auto_open = 0  # a second connection could be to another program
        connection.sock = plain
        if text.wrapped is not None:
            plain.sendall(_PROXY)
        if text.is_tls:
            context = ssl.create_default_context()
            context.check_hostname = False  # the endpoint is on this machine
            context.verify_mode = ssl.CERT_NONE
            connection.sock = context.wrap_socket(plain)
        try:
            yield connection
        finally:
            connection.close()


def _get(connection: HTTPConnection, path: str, token: str | None = None) -> _Page:
    connection.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    return _Page(response.headers.get("Server", ""), response.status, response.read(_LONGEST))


def _connect(text: EndpointText) -> socket.socket:
    if text.kind == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(text.parameters["address"])
        except OSError:
            connection.close()
            raise
        return connection
    host = text.parameters.get("interface", "127.0.0.1")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # not to listen there
    return socket.create_connection((host, text.port or 0), _PATIENCE)


async def check_running(report: DoctorReport, text: EndpointText, token: AdminToken) -> None:
    """Report what an airyd says whose admin page is at this endpoint; nothing if none runs there."""
    answers = await deferToThread(_ask, text, token)
    if answers is None:
        return
    with suppress(ValueError):
        ready = json.loads(answers.readiness.body)
        _report_readiness(report, ready if isinstance(ready, dict) else {})
    metrics = answers.metrics
    if metrics is None:
        owner = "an unknown user" if answers.owner is None else f"user number {answers.owner}"
        report.warn(
            "lag",
            _RUNNING,
            f"the admin token was not sent, because the admin port belongs to {owner}: the lag is not known",
            "run the doctor as the user that airyd runs as, and see that no other program has the port (ss -ltnp)",
        )
    elif metrics.status == HTTPStatus.UNAUTHORIZED:
        report.warn(
            "lag",
            _RUNNING,
            "it refuses the admin token of these options: the lag is not known",
            "give the doctor the --admin-token-file of the running airyd; after a change of the file, reload airyd",
        )
    elif metrics.status == HTTPStatus.OK:
        report_lag(report, metrics.body.decode())


def _report_readiness(report: DoctorReport, ready: Mapping[str, object]) -> None:
    for key, add in (("reasons", report.fail), ("warnings", report.warn)):
        listed = ready.get(key)
        for each in listed if isinstance(listed, list) else ():
            add("running", _RUNNING, str(each), "look at the other findings and at airyd's log")
    if ready.get("ready") is True:
        report.ok("running", _RUNNING, "it is ready for clients")


def report_lag(report: DoctorReport, text: str) -> None:
    """Check how far each destination with subscriptions is behind its stream."""
    lags: dict[str, dict[str, float]] = {_ENTRIES: {}, _SECONDS: {}}
    for family in text_string_to_metric_families(text):
        if family.name in lags:
            lags[family.name].update({each.labels["destination"]: each.value for each in family.samples})
    for destination, seconds in sorted(lags[_SECONDS].items()):
        shown = f"it is {lags[_ENTRIES].get(destination, 0):.0f} entries and {seconds:.1f} s behind the stream"
        if seconds > _MOST_LAG:
            advice = "look at the CPU of airyd (--workers uses more cores), at Redis' SLOWLOG and at the round trips"
            report.warn("lag", destination, shown, advice)
        else:
            report.ok("lag", destination, shown)
