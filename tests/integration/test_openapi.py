"""A real airyd answers as its OpenAPI document says, whatever is sent: schemathesis makes the requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from airyd.admin.openapi import openapi_document
from airyd.admin.route import JSON
from tests.integration.case import DaemonTestCase
from tests.integration.daemon import Daemon

FULL: Final = "the-full-token-of-a-test"
READ: Final = "the-read-token-of-a-test"
#: Valid requests for each operation, and as many invalid ones, with each token.
EXAMPLES: Final = 6
#: What each answer must fulfil: 500 is in no operation.
CHECKS: Final = [status_code_conformance, content_type_conformance]
DOCUMENT: Final = openapi_document()


def body_schema(case: Any, status: int) -> Any:
    """Return the validator for the JSON body of an answer; schemathesis' own does not understand ``prefixItems``."""
    answer = DOCUMENT["paths"][case.operation.path][case.operation.method.lower()]["responses"][str(status)]
    schema = answer["content"][JSON]["schema"]
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


class OpenApiTests(DaemonTestCase):
    """Requests for all operations, without a token and with each of the two."""

    def with_tokens(self) -> Daemon:
        """Start a daemon with both tokens."""
        paths = [Path(self.mktemp()).absolute() for _ in range(2)]
        for path, token in zip(paths, (FULL, READ), strict=True):
            path.write_text(token)
        return self.own_daemon(f"--admin-token-file={paths[0]}", f"--admin-read-token-file={paths[1]}")

    def send_all(self, daemon: Daemon, token: str | None) -> set[int]:
        """Send requests for all operations; return the statuses of the answers."""
        self.url = f"http://127.0.0.1:{daemon.admin_port}"
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.statuses: set[int] = set()
        for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations():
            operation: Any = result.ok()  # type: ignore[union-attr]  # of an error it raises, as it should
            self.send(operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
            if operation.body or operation.query or operation.path_parameters:
                self.send(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        return self.statuses

    def send(self, cases: Any) -> None:
        """Send requests for one operation."""

        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def send_one(case: Any) -> None:
            if case.path.endswith("/trace"):
                case.query["seconds"] = 1  # at most; the answer is read to its end
            response = case.call(base_url=self.url, headers=self.headers)
            self.statuses.add(response.status_code)
            case.validate_response(response, checks=CHECKS)
            if response.headers.get("Content-Type", [""])[0] == JSON:
                body_schema(case, response.status_code).validate(response.json())

        send_one()

    def test_without_tokens(self) -> None:
        self.assertLessEqual({200, 400, 403}, self.send_all(self.daemon, None))

    def test_token_not_shown(self) -> None:
        self.assertLessEqual({200, 401}, self.send_all(self.with_tokens(), None))

    def test_read_token(self) -> None:
        self.assertLessEqual({200, 400, 403}, self.send_all(self.with_tokens(), READ))

    def test_full_token(self) -> None:
        self.assertLessEqual({200, 204, 400, 404}, self.send_all(self.with_tokens(), FULL))
