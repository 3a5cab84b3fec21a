"""What operators see and do, with two workers and a real Redis, by the API of the admin page."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.integration.payloads import MESSAGE, body
from tests.integration.raw import RawClient
from tests.integration.test_workers import WorkersCase, wait_for_end, workers_of

TOKEN = "0123456789abcdef0123"


class OperatorTests(WorkersCase):
    """Has a node of two workers, and the full token."""

    def setUp(self) -> None:
        super().setUp()
        path = Path(self.mktemp())
        path.write_text(TOKEN)
        self.daemon = self.workers(f"--admin-token-file={path.absolute()}")
        self.daemon.headers = {"Authorization": f"Bearer {TOKEN}"}

    def api(self, method: str, path: str, **parameters: object) -> Any:
        """Send a request to the API; return the value of its answer."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        status, answer = self.daemon.request(method, f"/api/v1/{path}{query}", headers={"X-Airyd-Request": "1"})
        self.assertIn(status, (200, 404), answer)
        return json.loads(answer)

    def clients(self, count: int) -> list[RawClient]:
        """Return clients, with at least one at each worker."""
        found = self.subscribed(self.daemon, count)
        while len({row["process"] for row in self.listed()}) < 2:
            found += self.subscribed(self.daemon, 1)
        return found

    def listed(self, limit: int = 1000, **parameters: object) -> list[dict[str, Any]]:
        """Return the connections of all pages."""
        page = self.api("GET", "connections", limit=limit, **parameters)
        rows: list[dict[str, Any]] = page["connections"]
        while page["next"] is not None:
            page = self.api("GET", "connections", limit=limit, cursor=page["next"], **parameters)
            rows += page["connections"]
        self.assertEqual(page["missing"], [])
        return rows

    def test_pages(self) -> None:
        """The pages of both workers are one list, in the order of the key."""
        clients = self.clients(30)
        for number in range(3):
            self.daemon.publish(MESSAGE, body(MESSAGE, number))
        for client in clients:  # both workers have sent them
            self.assertEqual([client.message().command for _ in range(3)], ["MESSAGE"] * 3)
        by_age = self.listed(limit=7)
        self.assertEqual(len({row["id"] for row in by_age}), len(clients))
        since = [row["since"] for row in by_age]
        self.assertEqual(since, sorted(since))
        self.assertEqual({row["process"] for row in by_age}, {"worker-1", "worker-2"})
        by_deliveries = self.listed(limit=4, sort="deliveries")
        self.assertEqual({row["id"] for row in by_deliveries}, {row["id"] for row in by_age})
        self.assertEqual({row["events"] for row in by_deliveries}, {3})

    def test_details_and_kick(self) -> None:
        """Each connection is found, and ended, at the worker that has it."""
        clients = self.clients(6)
        rows = self.listed()
        for row in rows:
            details = self.api("GET", f"connections/{row['id']}")
            self.assertEqual(details["connection"]["id"], row["id"])
            self.assertEqual([each["destination"] for each in details["subscriptions"]], [MESSAGE])
            self.assertGreater(details["sent"], 0)
        for row in rows:
            reply = self.api("DELETE", f"connections/{row['id']}", reason="tidying up")
            self.assertEqual(reply["disconnected"], 1)
        for client in clients:
            error, code = client.error()
            self.assertEqual((error.headers["message"], code), ("disconnected by operator", 1008))
            self.assertEqual(error.body, b"An operator has ended this connection. tidying up")
        self.assertIn("error", self.api("GET", f"connections/{rows[0]['id']}"))

    def test_destinations_and_processes(self) -> None:
        clients = self.clients(4)
        for number in range(2):
            self.daemon.publish(MESSAGE, body(MESSAGE, number))
        for client in clients:  # both workers have read them
            client.message()
            client.message()
        (row,) = [each for each in self.api("GET", "destinations")["destinations"] if each["name"] == MESSAGE]
        self.assertEqual((row["subscriptions"], row["events"], row["deliveries"]), (len(clients), 2, 2 * len(clients)))
        self.assertGreaterEqual(row["history"], 0)
        processes = self.api("GET", "processes")["processes"]
        self.assertEqual([each["name"] for each in processes], ["parent", "worker-1", "worker-2"])
        self.assertEqual([each["pid"] for each in processes], [self.daemon.pid, *workers_of(self.daemon)])
        overview = self.api("GET", "overview")
        self.assertEqual((overview["ready"], overview["connections"], overview["events"]), (True, len(clients), 2))

    def test_drain(self) -> None:
        """All workers drain, also one that starts meanwhile; then the node serves again."""
        clients = self.clients(6)
        self.assertEqual(self.api("POST", "drain"), {"draining": True, "connections": len(clients), "missing": []})
        for client in clients:
            self.assertEqual(client.error()[1], 1012)
        killed, _ = workers_of(self.daemon)
        os.kill(killed, signal.SIGKILL)
        wait_for_end(killed)
        self.daemon.wait_for_metrics(workers=2, worker_restarts_total=1, draining=2)
        self.assertEqual(self.daemon.request("GET", "/readyz")[0], 503)
        self.assertFalse(self.api("DELETE", "drain")["draining"])
        self.daemon.wait_for_metrics(draining=0)
        self.clients(2)
