"""Certificates for TLS with servers of the tests' own: an authority's, a server's and a client's."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates:
    """Makes PEM files in a directory; its certificates are valid for a day by default.

    :param authority: its name; two with the same name are told apart by their keys alone
    :ivar ca: the authority's certificate
    :ivar server: a certificate for ``localhost`` and 127.0.0.1, and :attr:`server_key`
    :ivar client: another, and :attr:`client_key`
    """

    def __init__(self, directory: Path, authority: str = "airyd's tests") -> None:
        self._directory = directory.resolve()
        self._authority = ec.generate_private_key(ec.SECP256R1())
        self._issuer = _name(authority)
        self.ca = self._write("ca.pem", self._sign(self._issuer, self._authority, is_authority=True))
        self.server, self.server_key = self._pair("server", "localhost")
        self.client, self.client_key = self._pair("client", "airyd")

    def issue(self, file: str, *names: str, days: tuple[int, int] = (-1, 1)) -> tuple[str, str]:
        """Return the paths of another certificate, and of its key.

        :param names: the hosts that it is for; the first is its common name
        :param days: from and until when it is valid, counted from now
        """
        return self._pair(file, names[0], [x509.DNSName(name) for name in names], days)

    def issue_without_names(self, file: str) -> tuple[str, str]:
        """Return the paths of a certificate with a common name alone, and of its key."""
        return self._pair(file, file, [])

    def _pair(
        self, file: str, name: str, names: list[x509.GeneralName] | None = None, days: tuple[int, int] = (-1, 1)
    ) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = self._sign(_name(name), key, False, names, days)
        return self._write(f"{file}.pem", certificate), self._write(f"{file}-key.pem", pem)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        is_authority: bool,
        names: list[x509.GeneralName] | None = None,
        days: tuple[int, int] = (-1, 1),
    ) -> bytes:
        now = datetime.now(UTC)
        here = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.SubjectAlternativeName(here if names is None else names), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(self._authority, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, content: bytes) -> str:
        path = self._directory / name
        path.write_bytes(content)
        return str(path)


def key_pin(certificate: str) -> str:
    """Return the SHA-256 of a certificate's public key, in base64 (RFC 7469, section 2.4)."""
    key = x509.load_pem_x509_certificate(Path(certificate).read_bytes()).public_key()
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b64encode(sha256(encoded).digest()).decode()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
