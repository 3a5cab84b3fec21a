"""Server endpoint strings: their parts, their errors, and suggestions."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from airyd.listening import endpoint_strings
from airyd.listening.endpoint_strings import EndpointText, read_endpoint, without_systemd


class EndpointTests(SynchronousTestCase):
    """Endpoint strings."""

    def refusal(self, description: str) -> str:
        """Return the one line that says what is wrong."""
        said = str(self.assertRaises(ValueError, read_endpoint, description))
        self.assertEqual(len(said.splitlines()), 1, said)
        return said

    def test_parameters(self) -> None:
        """With and without their names; a backslash takes the next character as it is."""
        for description, kind, parameters in (
            ("tcp:0", "tcp", {"port": "0"}),
            ("tcp:8080:127.0.0.1:5", "tcp", {"port": "8080", "interface": "127.0.0.1", "backlog": "5"}),
            ("tcp:interface=localhost:port=80", "tcp", {"port": "80", "interface": "localhost"}),
            (r"tcp6:80:interface=\:\:1", "tcp6", {"port": "80", "interface": "::1"}),
            (r"tcp6:80:5:\:\:1", "tcp6", {"port": "80", "backlog": "5", "interface": "::1"}),
            (r"unix:/run/a\:b\=c:mode=660", "unix", {"address": "/run/a:b=c", "mode": "660"}),
            ("ssl:443:key.pem:cert.pem", "ssl", {"port": "443", "privateKey": "key.pem", "certKey": "cert.pem"}),
            ("tls:/certificates", "tls", {"path": "/certificates"}),
            ("systemd:INET:name=a=b", "systemd", {"domain": "INET", "name": "a=b"}),
        ):
            self.assertEqual(read_endpoint(description), EndpointText(kind, parameters), description)

    def test_behind_a_proxy(self) -> None:
        text = read_endpoint("haproxy:ssl:8443:privateKey=key.pem")
        self.assertEqual(text.wrapped, read_endpoint("ssl:8443:privateKey=key.pem"))
        self.assertEqual((text.is_tls, text.port), (True, 8443))

    def test_other_plugins(self) -> None:
        """Parameters of third-party plugins are not checked."""
        self.assertEqual(read_endpoint("autobahn:tcp\\:80:url=ws"), EndpointText("autobahn"))

    def test_wrong(self) -> None:
        """The error names the wrong part and says what to write instead."""
        for description, words in (
            ("", ["begins with its kind", "tcp6"]),
            ("interface=127.0.0.1", ["begins with its kind"]),
            ("8080", ["tcp:8080:interface=127.0.0.1"]),
            (":8080", ["tcp:8080?"]),
            ("*:8080", ["tcp:8080?"]),
            ("0.0.0.0:8080", ["tcp:8080:interface=0.0.0.0"]),
            ("localhost:8080", ["tcp:8080:interface=localhost"]),
            ("[::1]:8080", [r"tcp6:8080:interface=\:\:1"]),
            ("http:8080", ["tcp:8080:interface=127.0.0.1"]),
            ("http://127.0.0.1:8080/", ["tcp:8080:interface=127.0.0.1"]),
            ("wss:8443", ["ssl:8443:privateKey="]),
            ("/run/airyd.sock", ["unix:/run/airyd.sock"]),
            ("TCP:8080", ["tcp:8080"]),
            ("unx:/run/x", ["'unx'", "did you mean unix"]),
            ("kafka:x", ["'kafka'", "haproxy"]),
            ("fd:3", ["'fd'", "systemd"]),
            ("stdio:", ["stdio"]),
            ("tcp", ["needs port"]),
            ("tcp:", ["needs port"]),
            ("tcp:abc", ["port", "'abc'", "0 to 65535"]),
            ("tcp:127.0.0.1:8080", ["'127.0.0.1'", "did you mean tcp:8080:interface=127.0.0.1"]),
            ("tcp:65536", ["'65536'"]),
            ("tcp:-1", ["'-1'"]),
            ("tcp:080", ["'080'", "tcp:80:"]),
            ("tcp: 80", ["' 80'"]),
            ("tcp:80\n", ["port"]),
            ("tcp:٣", ["'٣'"]),
            ("tcp:" + "9" * 5000, ["port"]),
            ("tcp:80:interfaces=127.0.0.1", ["'interfaces'", "did you mean interface"]),
            ("tcp:80:Interface=127.0.0.1", ["did you mean interface"]),
            ("tcp:80:colour=blue", ["'colour'", "port, interface and backlog"]),
            ("tcp:80:interface=", ["interface is empty"]),
            ("tcp:80:interface=example.org", ["'example.org'", "IP address"]),
            ("tcp:80:interface=127.1", ["'127.1'"]),
            (r"tcp:80:interface=[\:\:1]", ["without brackets"]),
            ("tcp6:80:interface=127.0.0.1", ["IPv6"]),
            ("tcp6:80:interface=::1", [r"'tcp6:80:interface=\:\:1'", "quotes"]),
            ("tcp6:80:interface=[::1]:backlog=5", [r"'tcp6:80:interface=\:\:1:backlog=5'"]),
            ("ssl:80:privateKey=k:interface=2001:db8::1", [r"interface=2001\:db8\:\:1'"]),
            ("haproxy:tcp6:80:interface=::", [r"'tcp6:80:interface=\:\:'"]),
            ("tcp:80:backlog=x", ["backlog", "'x'"]),
            ("tcp:80:backlog=0", ["backlog"]),
            ("tcp:80:interface=127.0.0.1:interface=0.0.0.0", ["interface is given twice"]),
            ("tcp:80:127.0.0.1:interface=0.0.0.0", ["interface is given twice"]),
            ("tcp:80:127.0.0.1:5:6", ["'6' is one parameter too many", "backslash"]),
            ("tcp:80\\", ["backslash"]),
            ("ssl:", ["needs port and privateKey", "ssl:8443:privateKey="]),
            ("ssl:8443", ["needs privateKey"]),
            ("ssl:8443:privateKey=", ["privateKey is empty"]),
            ("ssl:8443:privatekey=k", ["did you mean privateKey"]),
            ("ssl:8443:privateKey=k:sslmethod=TLSv1_METHOD", ["sslmethod", "TLS 1.2"]),
            ("unix:", ["needs address"]),
            ("unix:" + "/x" * 60, ["address", "107 bytes"]),
            ("unix:/x:mode=888", ["mode", "'888'", "660"]),
            ("unix:/x:mode=rw", ["mode"]),
            ("unix:/x:lockfile=yes", ["lockfile", "0 or 1"]),
            ("unix:/x:interface=127.0.0.1", ["unix: has no parameter 'interface'"]),
            ("systemd:index=0", ["needs domain"]),
            ("systemd:domain=INET", ["index= or name="]),
            ("systemd:domain=INET:index=0:name=x", ["index= or name="]),
            ("systemd:domain=inet:index=0", ["INET, INET6 or UNIX"]),
            ("systemd:domain=INET:index=first", ["index", "'first'"]),
            ("tls:", ["needs path"]),
            ("tls:/certificates:https", ["port", "'https'"]),
            ("haproxy:", ["behind haproxy:"]),
            ("haproxy", ["behind haproxy:"]),
            ("haproxy:tcp:abc", ["'abc'"]),
            ("haproxy:nonsense:1", ["'nonsense'"]),
        ):
            said = self.refusal(description)
            for word in words:
                self.assertIn(word, said, description)

    def test_loopback(self) -> None:
        for description in (
            "tcp:8080:interface=127.0.0.1",
            "tcp:8080:interface=127.9.9.9",
            "tcp:port=8080:interface=localhost:backlog=5",
            "tcp:8080:127.0.0.1",
            r"tcp:8080:interface=\:\:1",
            r"tcp6:8080:interface=\:\:1",
            r"tcp6:8080:50:\:\:1",
            "ssl:8443:privateKey=key.pem:certKey=cert.pem:interface=127.0.0.1",
            "tls:/certificates:8443:interface=127.0.0.1",
            "unix:/run/airyd.sock",
            "unix:/run/airyd.sock:mode=660",
            "systemd:domain=UNIX:index=0",
            "systemd:UNIX:name=airyd",
        ):
            self.assertTrue(read_endpoint(description).is_loopback, description)

    def test_not_loopback(self) -> None:
        for description in (
            "tcp:8080",
            "tcp:8080:interface=0.0.0.0",
            "tcp:8080:interface=192.0.2.1",
            "tcp6:8080",
            r"tcp6:8080:interface=\:\:",
            "ssl:8443:privateKey=key.pem",
            "ssl:8443:127.0.0.1",
            "tls:/certificates",
            "systemd:domain=INET:index=0",
            "systemd:domain=INET6:index=0",
            "haproxy:tcp:8080:interface=127.0.0.1",
            "autobahn:x:interface=127.0.0.1",
        ):
            self.assertFalse(read_endpoint(description).is_loopback, description)

    def test_without_systemd(self) -> None:
        """A socket of systemd is replaced by one that as many machines can reach; the rest stays."""
        for description, instead in (
            ("systemd:domain=INET:name=airyd", "tcp:0"),
            ("systemd:index=0:domain=UNIX", "tcp:0:interface=127.0.0.1"),
            ("haproxy:systemd:INET6:0", "haproxy:tcp:0"),
            ("unix:/run/systemd:x", "unix:/run/systemd:x"),
            ("tcp:8080", "tcp:8080"),
            ("nonsense", "nonsense"),
        ):
            self.assertEqual(instead, without_systemd(description))

    def test_overlap(self) -> None:
        for one, other in (
            ("tcp:80", "tcp:80"),
            ("tcp:80", "tcp:80:interface=127.0.0.1:backlog=5"),
            ("tcp:80:interface=127.0.0.1", "ssl:80:privateKey=k:interface=localhost"),
            ("tcp6:80", r"tcp6:80:interface=\:\:1"),
            (r"tcp:80:interface=\:\:1", r"tcp6:80:interface=0\:0\:0\:0\:0\:0\:0\:1"),
            ("tcp:80:interface=127.0.0.1", r"tcp6:80:interface=\:\:ffff\:127.0.0.1"),
            ("tcp:80", "haproxy:tcp:80"),
            ("tls:/certificates", r"tcp6:443:interface=\:\:"),
            ("unix:/run/x", "unix:/run/../run/x:mode=660"),
            ("systemd:domain=INET:index=0", "systemd:INET:0"),
        ):
            self.assertTrue(read_endpoint(one).overlaps(read_endpoint(other)), (one, other))
            self.assertTrue(read_endpoint(other).overlaps(read_endpoint(one)), (one, other))

    def test_overlap_of_ipv4_and_ipv6(self) -> None:
        """A socket on ``::`` takes IPv4, too, unless the system says otherwise."""
        for is_shared in (True, False):
            self.patch(endpoint_strings, "_takes_ipv4", lambda answer=is_shared: answer)
            for ipv4 in ("tcp:80", "tcp:80:interface=127.0.0.1", "haproxy:tcp:80"):
                for ipv6 in ("tcp6:80", r"tcp:80:interface=\:\:", "tls:/certificates:80"):
                    self.assertIs(read_endpoint(ipv4).overlaps(read_endpoint(ipv6)), is_shared, (ipv4, ipv6))
                    self.assertIs(read_endpoint(ipv6).overlaps(read_endpoint(ipv4)), is_shared, (ipv4, ipv6))

    def test_what_the_system_says(self) -> None:
        """The result agrees with two sockets that try to listen, the second one on ``::``."""
        with socket.create_server(("127.0.0.1", 0)) as first, socket.socket(socket.AF_INET6) as second:
            port = first.getsockname()[1]
            try:
                second.bind(("::", port))
            except OSError:
                is_free = False
            else:
                is_free = True
            one, other = (read_endpoint(text) for text in (f"tcp:{port}:interface=127.0.0.1", f"tcp6:{port}"))
            self.assertIs(one.overlaps(other), not is_free)

    def test_no_overlap(self) -> None:
        """If only the kernel can know it, a socket is tried."""
        for one, other in (
            ("tcp:0", "tcp:0"),
            ("tcp:80", "tcp:81"),
            ("tcp:80:interface=127.0.0.1", "tcp:80:interface=127.0.0.2"),
            ("tcp:80", r"tcp6:80:interface=\:\:1"),
            ("tcp:80:interface=127.0.0.1", r"tcp6:80:interface=\:\:ffff\:127.0.0.2"),
            ("unix:/run/x", "unix:/run/y"),
            ("unix:/run/x", "tcp:80"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=1"),
            ("autobahn:x", "autobahn:x"),
        ):
            self.assertFalse(read_endpoint(one).overlaps(read_endpoint(other)), (one, other))
            self.assertFalse(read_endpoint(other).overlaps(read_endpoint(one)), (one, other))
