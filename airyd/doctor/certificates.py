"""Checks of certificates: their host names, their chain, and when they expire."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IReactorCore, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from airyd.doctor.findings import DoctorReport
from airyd.files import read_file
from airyd.openssl import read_certificates
from airyd.sources.redis.address import CONNECT_PATIENCE, Address

_DAY: Final = 86400.0
#: Days before it expires at which a certificate should have been renewed.
_SOON: Final = 14
_RENEW: Final = "renew it, and let airyd read it again (docs/operating.rst)"


def check_end(
    report: DoctorReport, subject: str, certificate: x509.Certificate, now: float, renew: str = _RENEW
) -> bool:
    """Check the validity period of a certificate; return whether it is valid now."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    left = (ends.timestamp() - now) / _DAY
    if left < 0:
        report.fail("certificate", subject, f"it expired on {_date(ends)}: clients refuse it", renew)
    elif begins.timestamp() > now:
        advice = "set this machine's clock by NTP, or wait"
        report.fail("certificate", subject, f"it is not valid before {_date(begins)}: clients refuse it", advice)
    elif left < _SOON:
        report.warn("certificate", subject, f"it expires on {_date(ends)}, in {left:.0f} days", renew)
    else:
        report.ok("certificate", subject, f"it is valid until {_date(ends)}, for {left:.0f} days")
    return left >= 0 and begins.timestamp() <= now


def _date(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d")


def check_server_files(report: DoctorReport, option: str, paths: Sequence[str], now: float) -> None:
    """Check the certificate that an endpoint sends, and its chain.

    :param paths: the file with the certificate, then those with the rest of the chain
    """
    certificates: list[x509.Certificate] = []
    for path in paths:
        try:
            certificates += read_certificates(read_file(path))
        except ValueError as error:
            advice = "name a PEM file with the certificate, such as fullchain.pem"
            report.fail("certificate", f"{option} {path}", str(error), advice)
            return
    own, *chain = certificates
    subject = f"{option} {paths[0]}"
    is_valid = check_end(report, subject, own, now)
    names = names_of(own)
    if names:
        report.ok("certificate", subject, f"it is for {', '.join(names)}")
    else:
        report.fail(
            "certificate",
            subject,
            "it names no host in subjectAltName: clients refuse it",
            "get one with the names that clients connect to",
        )
    if is_valid:
        _check_chain(report, subject, own, chain)


def check_server_folder(report: DoctorReport, option: str, path: str, now: float) -> None:
    """Check the certificates of all ``.pem`` files below a folder, each with its chain."""
    for file in sorted(map(str, Path(path).rglob("*.pem"))):
        try:
            has_certificate = b"-----BEGIN CERTIFICATE-----" in read_file(file)
        except ValueError:
            continue  # the check of the options says so
        if has_certificate:
            check_server_files(report, option, [file], now)


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the hosts that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    hosts = names.get_values_for_type(x509.DNSName)
    return [*hosts, *map(str, names.get_values_for_type(x509.IPAddress))]


def _check_chain(report: DoctorReport, subject: str, own: x509.Certificate, chain: Sequence[x509.Certificate]) -> None:
    """Check that clients which trust the system's authorities can follow the chain to one of them."""
    store = crypto.X509Store()
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        store.load_locations(paths.cafile, paths.capath)
    context = crypto.X509StoreContext(
        store, crypto.X509.from_cryptography(own), [crypto.X509.from_cryptography(each) for each in chain]
    )
    try:
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        reason = str(error)
        if own.issuer == own.subject:
            message, advice = "it is self-signed", "only clients that know it can connect: get one from an authority"
        elif not chain:
            message = f"it has no chain ({reason})"
            advice = (
                "add the intermediate certificates (fullchain.pem); if the authority is your own, install its root "
            )
            advice += "where the clients run"
        else:
            message = f"its chain leads to no authority that this machine trusts ({reason})"
            advice = "add the missing certificates, or install the root where the clients run"
        report.warn("certificate", subject, message, advice)
    else:
        report.ok("certificate", subject, "its chain leads to an authority that this machine trusts")


def check_client_file(report: DoctorReport, name: str, path: str, now: float) -> None:
    """Check the first certificate in a file that a ``rediss:`` URL names."""
    try:
        own, *_ = read_certificates(read_file(path))
    except ValueError:  # the check of the source says so
        return
    check_end(report, f"{name} {path}", own, now)


async def check_peer(report: DoctorReport, address: Address, reactor: IReactorCore, now: float) -> None:
    """Check when the certificate of a Redis expires; connecting has checked its name and chain."""
    shown: Deferred[x509.Certificate | None] = Deferred()
    factory = Factory.forProtocol(_Handshake)
    factory.noisy = False
    protocol = await address.endpoint(reactor).connect(factory)
    assert isinstance(protocol, _Handshake)  # noqa: S101  # the factory's
    protocol.listen(shown)
    certificate = await shown.addTimeout(CONNECT_PATIENCE, IReactorTime(reactor), lambda result, seconds: None)
    protocol.transport.abortConnection()  # type: ignore[union-attr]  # connected
    if certificate is not None:
        check_end(report, address.name, certificate, now, "renew it on the Redis server")


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Keeps the certificate that the server sends."""

    _certificate: x509.Certificate | None = None
    _is_over = False
    _waiting: Deferred[x509.Certificate | None] | None = None

    def listen(self, waiting: Deferred[x509.Certificate | None]) -> None:
        """Fire a Deferred after the handshake: with the certificate, or None if the connection is lost."""
        self._waiting = waiting
        if self._certificate is not None or self._is_over:
            self._fire()

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        peer = self.transport.getPeerCertificate()  # type: ignore[union-attr]  # over TLS
        self._certificate = peer.to_cryptography()
        self._fire()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``IProtocol``."""
        self._is_over = True
        self._fire()

    def _fire(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(self._certificate)
