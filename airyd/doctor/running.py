"""Asks a running airyd whether it is ready, and how far it is behind its streams."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.threads import deferToThread

from airyd.doctor.findings import DoctorReport
from airyd.limits import MIB
from airyd.listening.endpoint_strings import EndpointText

#: Seconds that a program on a port may take to answer.
_PATIENCE: Final = 3.0
#: The first part of the header Server, on both of airyd's ports.
_AIRYD: Final = "airyd/"
#: What a proxy that speaks the PROXY protocol sends for a client on this machine.
_PROXY: Final = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n"
_LONGEST: Final = 16 * MIB
#: The gauges of a destination's lag.
_ENTRIES: Final = "airyd_lag_entries"
_SECONDS: Final = "airyd_lag_seconds"
#: Seconds that a destination may be behind its stream.
_MOST_LAG: Final = 5.0


class _Page(NamedTuple):
    server: str
    status: int
    body: bytes


def is_airyd(text: EndpointText) -> bool:
    """Return whether airyd answers at an endpoint (call it in a thread)."""
    page = _get(text, "/healthz", None)
    return page is not None and page.server.startswith(_AIRYD)


def _get(text: EndpointText, path: str, token: str | None) -> _Page | None:
    """Return a page, or None if nothing at the endpoint answers as a web server does."""
    inner = text.wrapped or text
    try:
        with _connect(inner) as plain:
            connection = plain
            if text.wrapped is not None:
                plain.sendall(_PROXY)
            if text.is_tls:
                context = ssl.create_default_context()
                context.check_hostname = False  # the endpoint is on this machine
                context.verify_mode = ssl.CERT_NONE
                connection = context.wrap_socket(plain)
            login = f"Authorization: Bearer {token}\r\n" if token is not None else ""
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{login}Connection: close\r\n\r\n"
            connection.sendall(head.encode("latin-1"))
            response = HTTPResponse(connection)
            try:
                response.begin()
                return _Page(response.headers.get("Server", ""), response.status, response.read(_LONGEST))
            finally:
                response.close()
    except (OSError, HTTPException):
        return None


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


async def check_running(report: DoctorReport, text: EndpointText, token: str | None) -> None:
    """Check the airyd whose admin page is at this endpoint, if one runs there."""
    page = await deferToThread(_get, text, "/readyz", None)
    if page is None or not page.server.startswith(_AIRYD):
        return
    with suppress(ValueError):
        ready = json.loads(page.body)
        _report_readiness(report, ready if isinstance(ready, dict) else {})
    metrics = await deferToThread(_get, text, "/metrics", token)
    if metrics is not None and metrics.status == 200:
        report_lag(report, metrics.body.decode())


def _report_readiness(report: DoctorReport, ready: Mapping[str, object]) -> None:
    subject = "the running airyd"
    for key, add in (("reasons", report.fail), ("warnings", report.warn)):
        listed = ready.get(key)
        for each in listed if isinstance(listed, list) else ():
            add("running", subject, str(each), "look at the other findings and at airyd's log")
    if ready.get("ready") is True:
        report.ok("running", subject, "it is ready for clients")


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
