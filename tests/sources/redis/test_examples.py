"""The examples of docs/publishing.rst: the very files publish, with the least rights, and a real airyd delivers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.integration.node import CLIENTS
from tests.integration.payloads import DIFFICULT_TEXT, MESSAGE, UNREAD_COUNT, event
from tests.patience import PATIENCE
from tests.sources.redis.rights import RightsTestCase, password_of

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
EVENTS = [event(MESSAGE, number, DIFFICULT_TEXT) for number in range(20)]


class ExampleTests(RightsTestCase):
    """Each example publishes as the documented publisher."""

    user = "airyd"

    def run_example(self, *command: str, lines: str = "") -> list[str]:
        """Run a program to its end; return the lines that it printed."""
        login = password_of("publisher")
        environment = {
            **os.environ,
            "REDIS_URL": f"redis://127.0.0.1:{self.server.port}/0",
            "REDIS_USER": "publisher",
            "REDIS_PASSWORD": login,
            "REDISCLI_AUTH": login,
        }
        done = subprocess.run(command, input=lines.encode(), env=environment, capture_output=True, timeout=PATIENCE)
        self.assertEqual((0, b""), (done.returncode, done.stderr))
        return done.stdout.decode().splitlines()

    def check(self, *command: str) -> None:
        """What a program publishes is delivered, in order, with the ids that it prints."""
        client = self.connect()
        client.subscribe(MESSAGE, "0")
        ids = self.run_example(*command, MESSAGE, lines="".join(f"{json.dumps(each)}\n" for each in EVENTS))
        messages = [client.message() for _ in EVENTS]
        self.assertEqual([json.loads(message.body) for message in messages], EVENTS)
        self.assertEqual([message.headers["message-id"].partition("-")[2] for message in messages], ids)

    def test_python(self) -> None:
        self.check(sys.executable, str(EXAMPLES / "publish.py"))

    def test_node(self) -> None:
        node = shutil.which("node")
        assert node is not None, "node is missing: make test says how to get it"
        self.check(node, str(CLIENTS / "publish.mjs"))

    def test_redis_cli(self) -> None:
        client = self.connect()
        client.subscribe(UNREAD_COUNT, "0")
        published = json.dumps(event(UNREAD_COUNT, 1, DIFFICULT_TEXT), ensure_ascii=False)
        (entry,) = self.run_example("sh", str(EXAMPLES / "publish.sh"), UNREAD_COUNT, published)
        message = client.message()
        self.assertEqual(message.body.decode(), published)
        self.assertTrue(message.headers["message-id"].endswith(f"-{entry}"))

    def test_redis_cli_tells_of_a_refusal(self) -> None:
        """Redis' error is on standard error, and the exit status isn't 0."""
        with self.assertRaises(self.failureException) as refused:
            self.run_example("sh", str(EXAMPLES / "publish.sh"), "-elsewhere", "{}")
        self.assertIn("NOPERM", str(refused.exception))
