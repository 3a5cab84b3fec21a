"""Each alert of etc/prometheus/airyd.rules.yml fires by what a daemon in its state writes, and the runbook fits it.

A test brings a real daemon into the state that an alert is for. promtool gets the daemon's pages of metrics, from
before and from that state, as if Prometheus had scraped them each minute. Then the commands of the alert's section in
docs/runbook.rst are run, and must show what the section shows.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from tests.auth.case import jwk, private_key, token
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import TWISTD, Daemon
from tests.integration.payloads import MESSAGE, body
from tests.integration.promtool import Page, alerts, assert_firing, no_page, read_page
from tests.integration.raw import RawClient
from tests.integration.runbook import look
from tests.integration.test_drain import terminate_again
from tests.integration.test_log_output import UnreadLogCase
from tests.integration.test_tokens import KeyServer, fresh
from tests.integration.test_workers import wait_for_end, workers_of
from tests.patience import PATIENCE
from tests.sources.redis.certificates import Certificates
from tests.sources.redis.server import RedisServer

KEY: Final = f"airyd:{MESSAGE}"
#: Scrapes, each a minute after the other, before the state of an alert begins.
BEFORE: Final = 20
DAY: Final = 86_400


def assert_fires(alert: str, before: Page, after: Page, also: Collection[str] = ()) -> None:
    """Check that an alert fires, as soon as it may, when a page replaces another; and none before.

    :param also: other alerts that fire in the same state
    """
    (wait,) = [each.wait for each in alerts() if each.name == alert]
    assert_firing(set(), [(BEFORE, before)])
    if wait:
        assert_firing(set(), [(BEFORE, before), (1, after)])
    assert_firing({alert, *also}, [(BEFORE, before), (wait + 2, after)])


class AlertCase(DaemonTestCase):
    """Starts daemons, each for one state."""

    def setUp(self) -> None:
        """Start no shared daemon."""

    def redis(self) -> RedisServer:
        """Start a Redis."""
        server = RedisServer()
        self.addCleanup(server.close)
        return server

    def reading(self, redis: RedisServer, *options: str) -> Daemon:
        """Start a daemon that reads a Redis."""
        return self.own_daemon(f"--source=redis://127.0.0.1:{redis.port}/0", *options)

    def subscriber(self, daemon: Daemon, **more: str) -> RawClient:
        """Return a client that is subscribed to messages."""
        client = self.connect(daemon=daemon)
        client.subscribe(MESSAGE, "0", **more)
        return client

    def page(self, daemon: Daemon) -> Page:
        """Return what Prometheus stores of a daemon now."""
        return read_page(daemon.metrics())

    def wait_for(self, daemon: Daemon, is_reached: Callable[[Page], bool]) -> Page:
        """Wait until the page of a daemon is as wanted; return it."""
        deadline = time.monotonic() + PATIENCE
        while not is_reached(page := self.page(daemon)):
            if time.monotonic() > deadline:
                raise AssertionError(daemon.metrics())
            time.sleep(0.05)
        return page


def total(page: Page, name: str) -> float:
    """Return the sum of a metric over its labels."""
    return sum(value for series, value in page.items() if series.startswith(f"{name}{{"))


class ClientsTests(AlertCase):
    """Are clients served?"""

    def test_down(self) -> None:
        daemon = self.own_daemon()
        before = self.page(daemon)
        self.assertEqual(daemon.stop(), 0)
        assert_fires("AirydDown", before, no_page())
        look("AirydDown", daemon.admin_port, daemon.log)

    def test_logins_down(self) -> None:
        """A second daemon starts when the server of the keys is gone."""
        server = KeyServer(jwk(private_key("ES256"), "k0"))
        self.addCleanup(server.stop)
        options = ("--auth=anonymous", f"--auth=jwt:jwks=http://127.0.0.1:{server.port}/keys")
        healthy = self.own_daemon(*options)
        before = self.wait_for(healthy, lambda page: total(page, "airyd_login_up") == 1)
        server.stop()
        daemon = self.own_daemon(*options)
        after = self.wait_for(daemon, lambda page: not total(page, "airyd_login_up"))
        daemon.wait_for_log(re.compile("cannot get keys"))
        assert_fires("AirydLoginsDown", before, after)
        look("AirydLoginsDown", daemon.admin_port, daemon.log)

    def test_logins_refused(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            secret = Path(directory, "secret")
            secret.write_text("c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQ=")
            daemon = self.own_daemon(f"--auth=jwt:secret-file={secret}")
            before = self.page(daemon)
            for number in range(6):
                if number == 5:
                    assert_firing(set(), [(BEFORE, before), (7, self.page(daemon))])
                client = self.open(daemon)
                made = token(fresh(), b"another-secret-another-secret-32", "HS256")
                client.send("CONNECT", [("accept-version", "1.2"), ("Authorization", f"Bearer {made}")])
                client.error()
            assert_fires("AirydLoginsRefused", before, self.page(daemon))
            look("AirydLoginsRefused", daemon.admin_port, daemon.log)

    def test_internal_errors(self) -> None:
        """The log of this daemon has tracebacks."""
        broken = f"import airyd.hub.hub as h; h.Hub.make_subscription = lambda *_: 1 / 0; {TWISTD}"
        daemon = Daemon(program=broken)
        self.addCleanup(daemon.kill)
        before = self.page(daemon)
        client = self.connect(daemon=daemon)
        client.send("SUBSCRIBE", [("id", "0"), ("destination", MESSAGE)])
        self.assertEqual(client.error()[1], 1011)
        assert_fires("AirydInternalErrors", before, self.page(daemon))
        look("AirydInternalErrors", daemon.admin_port, daemon.log)

    def test_workers_missing(self) -> None:
        """A worker that ended stays away, here for good."""
        daemon = self.own_daemon(
            "--workers=2",
            f"--source=redis://127.0.0.1:{self.redis().port}/0",
            program=f"import airyd.workers.supervisor as s; s.FIRST_PAUSE = s.LONGEST_PAUSE = 1e4; {TWISTD}",
        )
        before = self.wait_for(daemon, lambda page: total(page, "airyd_workers") == 2)
        away, _ = workers_of(daemon)
        os.kill(away, signal.SIGKILL)
        wait_for_end(away)
        after = self.wait_for(daemon, lambda page: total(page, "airyd_workers") == 1)
        assert_fires("AirydWorkersMissing", before, after)
        look("AirydWorkersMissing", daemon.admin_port, daemon.log)

    def test_workers_that_drain_are_not_missing(self) -> None:
        """Neither a rolling restart nor a stop of all workers fires an alert, however long it takes."""
        daemon = self.own_daemon(
            "--workers=2", f"--source=redis://127.0.0.1:{self.redis().port}/0", "--drain-notice=250"
        )
        before = self.wait_for(daemon, lambda page: total(page, "airyd_workers") == 2)
        clients = [self.connect(daemon=daemon) for _ in range(20)]  # they do not answer the close
        os.kill(daemon.pid, signal.SIGUSR2)
        rolling = self.wait_for(daemon, lambda page: total(page, "airyd_workers") == 1)
        assert_firing(set(), [(BEFORE, before), (10, rolling)])
        for client in clients:
            client.abort()
        daemon.wait_for_log(re.compile("the rolling restart is complete"))
        daemon.terminate()
        stopping = self.wait_for(daemon, lambda page: total(page, "airyd_workers") == 0)
        assert_firing(set(), [(BEFORE, before), (10, stopping)])
        terminate_again(daemon)
        self.assertEqual(daemon.wait(), 0)

    def test_workers_restart(self) -> None:
        daemon = self.own_daemon(
            "--workers=2",
            f"--source=redis://127.0.0.1:{self.redis().port}/0",
            program=f"import airyd.workers.supervisor as s; s.FIRST_PAUSE = s.LONGEST_PAUSE = 0.01; {TWISTD}",
        )
        before = after = self.wait_for(daemon, lambda page: total(page, "airyd_workers") == 2)
        for number in range(3):
            if number == 2:
                assert_firing(set(), [(BEFORE, before), (2, after)])
            killed, _ = workers_of(daemon)
            os.kill(killed, signal.SIGKILL)
            wait_for_end(killed)
            daemon.wait_for_metrics(worker_restarts_total=number + 1, workers=2)
            after = self.page(daemon)
        assert_fires("AirydWorkersRestart", before, after)
        look("AirydWorkersRestart", daemon.admin_port, daemon.log)

    def test_certificate_ends(self) -> None:
        """promtool's time begins in 1970: its first scrape after that is a week before the certificate ends."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        certificate, key = Certificates(Path(directory.name)).issue("soon", "localhost", days=(-1, 300))
        daemon = self.own_daemon(f"--listen=ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}")
        page = self.page(daemon)
        end = int(total(page, "airyd_tls_certificate_end_timestamp_seconds"))
        self.assertLess(abs(end - time.time() - 300 * DAY), DAY)
        assert_firing(set(), [(2, page)], interval=end - 20 * DAY)
        assert_firing({"AirydCertificateEnds"}, [(2, page)], interval=end - 7 * DAY)
        found = re.search(r"airyd serves wss://127\.0\.0\.1:(\d+)/", daemon.log)
        assert found is not None
        look(
            "AirydCertificateEnds", daemon.admin_port, daemon.log, replaced={"127.0.0.1:8443": f"127.0.0.1:{found[1]}"}
        )

    def test_reload_failed(self) -> None:
        """A file of secrets that was cut off; the line of the reload names it."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        secret = Path(directory.name, "secret")
        secret.write_text("x" * 32)
        daemon = self.own_daemon(f"--auth=jwt:secret-file={secret}")
        before = self.page(daemon)
        secret.write_text("")
        os.kill(daemon.pid, signal.SIGHUP)
        after = self.wait_for(daemon, lambda page: not total(page, "airyd_reload_success"))
        assert_fires("AirydReloadFailed", before, after)
        look("AirydReloadFailed", daemon.admin_port, daemon.log)


class FeedTests(AlertCase):
    """Is the feed late?"""

    def test_source_down(self) -> None:
        redis = self.redis()
        daemon = self.reading(redis)
        before = self.page(daemon)
        redis.kill()
        after = self.wait_for(daemon, lambda page: not total(page, "airyd_source_up"))
        daemon.wait_for_log(re.compile("connection refused"))  # at first, the reason is that the connection was lost
        assert_fires("AirydSourceDown", before, after)
        look("AirydSourceDown", daemon.admin_port, daemon.log, redis.port)

    def test_feed_lags(self) -> None:
        """Redis lets airyd look at the stream, but not read it."""
        redis = self.redis()
        daemon = self.reading(redis)
        client, publisher = self.subscriber(daemon), redis.connect()
        self.addCleanup(publisher.close)
        before = self.page(daemon)
        publisher.call("ACL", "SETUSER", "default", "-xread")
        for number in range(1, 6):  # the XREAD that waits already gets the first
            publisher.call("XADD", KEY, "*", "payload", body(MESSAGE, number))
        client.message()
        after = self.wait_for(daemon, lambda page: total(page, "airyd_lag_seconds") > 5)
        self.assertEqual(total(after, "airyd_lag_entries"), 4)
        assert_fires("AirydFeedLags", before, after, also=["AirydSourceDown"])
        look("AirydFeedLags", daemon.admin_port, daemon.log, redis.port)

    def test_events_late(self) -> None:
        """The id of an event says that it is older."""
        redis = self.redis()
        publisher = redis.connect()
        self.addCleanup(publisher.close)
        publisher.call("XADD", KEY, "1-0", "payload", body(MESSAGE, 0))
        daemon = self.reading(redis)
        client = self.subscriber(daemon)
        before = self.page(daemon)
        publisher.call("XADD", KEY, f"{int(time.time() * 1000) - 20_000}-0", "payload", body(MESSAGE, 1))
        client.message()
        after = self.wait_for(daemon, lambda page: total(page, "airyd_event_age_seconds_count") == 1)
        assert_fires("AirydEventsLate", before, after)
        look("AirydEventsLate", daemon.admin_port, daemon.log, redis.port)

    def test_feed_silent(self) -> None:
        redis = self.redis()
        daemon = self.reading(redis)
        client, publisher = self.subscriber(daemon), redis.connect()
        self.addCleanup(publisher.close)
        before = self.page(daemon)
        publisher.pipeline([("XADD", KEY, "*", "payload", body(MESSAGE, number)) for number in range(150)])
        for _ in range(150):
            client.message()
        after = self.page(daemon)
        self.assertEqual(total(after, "airyd_events_received_total"), 150)
        assert_firing(set(), [(10, before), (15, after)])
        assert_firing({"AirydFeedSilent"}, [(10, before), (25, after)])
        look("AirydFeedSilent", daemon.admin_port, daemon.log, redis.port)

    def test_feed_silent_without_subscribers(self) -> None:
        """What nobody subscribes to is not read, so that its silence means nothing."""
        redis = self.redis()
        daemon = self.reading(redis)
        before = self.page(daemon)
        after = {**before, **{name: 150.0 for name in before if name.startswith("airyd_events_received_total{")}}
        assert_firing(set(), [(10, before), (25, after)])

    def test_events_missed(self) -> None:
        redis = self.redis()
        daemon = self.reading(redis)
        self.subscriber(daemon)
        before, publisher = self.page(daemon), redis.connect()
        self.addCleanup(publisher.close)
        publisher.call("DEL", KEY)
        after = self.wait_for(daemon, lambda page: bool(total(page, "airyd_gaps_total")))
        assert_fires("AirydEventsMissed", before, after)
        look("AirydEventsMissed", daemon.admin_port, daemon.log, redis.port)

    def test_resumes_fail(self) -> None:
        redis = self.redis()
        daemon = self.reading(redis)
        client = self.connect(daemon=daemon)
        position = client.subscribe(MESSAGE, "0").headers["last-message-id"]
        before = self.page(daemon)
        gone = re.sub(r"-\d+-\d+$", "-1-0", position)
        for number in range(6):
            if number == 5:
                assert_firing(set(), [(BEFORE, before), (10, self.page(daemon))])
            back = self.connect(daemon=daemon)
            receipt = back.subscribe(MESSAGE, "0", last_message_id=gone)
            self.assertEqual(receipt.headers["recovered"], "false")
        assert_fires("AirydResumesFail", before, self.page(daemon))
        look("AirydResumesFail", daemon.admin_port, daemon.log, redis.port)

    def test_events_refused(self) -> None:
        redis = self.redis()
        daemon = self.reading(redis)
        self.subscriber(daemon)
        before, publisher = self.page(daemon), redis.connect()
        self.addCleanup(publisher.close)
        publisher.call("XADD", KEY, "*", "payload", "no JSON")
        after = self.wait_for(daemon, lambda page: bool(total(page, "airyd_payloads_refused_total")))
        assert_fires("AirydEventsRefused", before, after)
        self.wait_for(daemon, lambda _: bool(publisher.call("XLEN", "airyd:dead-letter")))
        look("AirydEventsRefused", daemon.admin_port, daemon.log, redis.port)

    def test_redis_slow(self) -> None:
        redis = self.redis()
        daemon = self.reading(redis)
        before, pauser = self.page(daemon), redis.connect()
        self.addCleanup(pauser.close)
        pauser.call("CLIENT", "PAUSE", 700, "ALL")
        daemon.publish(MESSAGE, body(MESSAGE, 1))
        assert_fires("AirydRedisSlow", before, self.page(daemon))
        look("AirydRedisSlow", daemon.admin_port, daemon.log, redis.port)


class SlowTests(AlertCase):
    """Who is slow?"""

    def test_reactor_slow(self) -> None:
        """A process that is stopped is as late as one that has too much to do."""
        daemon = self.own_daemon()
        before = self.page(daemon)
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            client = RawClient(daemon.port)
            self.addCleanup(client.abort)
            client.send_bytes(client.request)
            self.assertFalse(client.has_data(within=1.0))
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        after = self.wait_for(daemon, lambda page: self.is_late(page, before))
        assert_fires("AirydReactorSlow", before, after)
        look("AirydReactorSlow", daemon.admin_port, daemon.log)

    def is_late(self, page: Page, before: Page) -> bool:
        """Return whether a timer was late by more than half a second since the page before."""
        name = "airyd_reactor_lag_seconds_sum"
        return total(page, name) - total(before, name) > 0.5

    def slow(self, daemon: Daemon) -> RawClient:
        """Return a subscriber that reads nothing, with a small receive buffer."""
        client = self.connect(daemon=daemon, receive_buffer=4096)
        client.subscribe(MESSAGE, "0")
        return client

    def flood(self, daemon: Daemon, is_reached: Callable[[Page], bool]) -> Page:
        """Publish large events until the page is as wanted; return it."""
        for number in range(400):
            if is_reached(page := self.page(daemon)):
                return page
            daemon.publish(MESSAGE, body(MESSAGE, number, "x" * 60_000))
        raise AssertionError("24 MB were taken for a client that reads nothing")

    def test_slow_clients(self) -> None:
        daemon = self.own_daemon("--buffered=100000000")
        self.slow(daemon)
        before = self.page(daemon)
        self.flood(daemon, lambda page: total(page, "airyd_buffered_bytes") > 0)
        after = self.wait_for(daemon, lambda page: total(page, "airyd_slow_clients") == 1)
        assert_fires("AirydSlowClients", before, after)
        look("AirydSlowClients", daemon.admin_port, daemon.log)

    def test_slow_clients_closed(self) -> None:
        daemon = self.own_daemon("--buffered=200000", "--source=memory:?history=0")
        for _ in range(7):
            self.slow(daemon)
        before = self.page(daemon)
        closed = 'airyd_errors_total{kind="slow_consumer"'
        after = self.flood(
            daemon, lambda page: sum(value for name, value in page.items() if name.startswith(closed)) >= 7
        )
        assert_fires("AirydSlowClientsClosed", before, after)
        look("AirydSlowClientsClosed", daemon.admin_port, daemon.log)


class FullTests(AlertCase):
    """What is full?"""

    def test_connections_full(self) -> None:
        daemon = self.own_daemon(
            program=f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (110, 110)); {TWISTD}"
        )
        before = self.page(daemon)
        self.assertEqual(total(before, "airyd_connections_limit"), 10)
        for _ in range(10):
            self.connect(daemon=daemon)
        one_more = RawClient(daemon.port)
        self.addCleanup(one_more.abort)
        one_more.expect_end()
        assert_fires("AirydConnectionsFull", before, self.page(daemon))
        look("AirydConnectionsFull", daemon.admin_port, daemon.log)


class LogTests(UnreadLogCase):
    """The log's reader hangs."""

    def test_log_blocked(self) -> None:
        self.start()
        before = read_page(self.page())
        self.make_noise()
        assert_fires("AirydLogBlocked", before, read_page(self.page()))
        look("AirydLogBlocked", self.admin_port, self.log.decode())
