"""The API under ``/api/v1``: what it asks, what it answers, and who may use it."""

from __future__ import annotations

from itertools import product
from typing import Any, Final, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from airyd import __version__
from airyd.admin.api import MOST_EVENTS
from airyd.admin.route import JSON_LINES, Access, HttpRoute
from airyd.admin.routes import ROUTES
from airyd.admin.server import MOST_BATCH
from airyd.errors import PayloadFault, PayloadRefused, SourceUnavailable, UnknownDestination
from airyd.management.queries import (
    ConnectionDetails,
    ConnectionQuery,
    ConnectionReply,
    ConnectionRow,
    ConnectionsQuery,
    ConnectionsReply,
    ConnectionState,
    DeliveryOutcome,
    DestinationsQuery,
    DestinationsReply,
    DrainCommand,
    DrainReply,
    EventRow,
    EventsQuery,
    EventsReply,
    ExplainQuery,
    ExplainReply,
    KickCommand,
    KickReply,
    ProcessesQuery,
    ProcessesReply,
    SortKey,
)
from tests.admin.browser import JSON, LISTENERS, AdminCase, Response

FULL: Final = "the-full-token-of-a-test"
READ: Final = "the-read-token-of-a-test"
CHANGE: Final = {"X-Airyd-Request": "1"}
ROW: Final = ConnectionRow(
    id="r-1",
    process="airyd",
    state=ConnectionState.LIVE,
    subject="<img onerror=alert(1)>",
    address="127.0.0.1:5",
    agent=None,
    version="1.2",
    since=1.5,
    subscriptions=0,
    events=0,
    buffered=0,
    lag=None,
)
DETAILS: Final = ConnectionDetails(
    connection=ROW,
    heart_beat=(10.0, 0.0),
    heard=1.0,
    token_end=None,
    sent=None,
    received=None,
    limit=5,
    subscriptions=(),
)


def path_of(route: HttpRoute) -> str:
    """Return a path of a route, with the parameters that it needs."""
    path = route.path.replace("{destination}", "queue/message").replace("{id}", "r-1").replace("{file}", "x.js")
    needed = [f"{each.name}=x" for each in route.parameters or () if each.is_required]
    return f"{path}?{'&'.join(needed)}" if needed else path


class ApiCase(AdminCase):
    """Has an admin page with two tokens; the helpers send the full one."""

    token = FULL
    read_token = READ

    def setUp(self) -> None:
        """Collect the lines of the log about changes."""
        super().setUp()
        self.lines: list[str] = []

        def observe(event: LogEvent) -> None:
            if event.get("log_format", "").startswith("admin page: "):
                self.lines.append(formatEvent(event))

        observer = cast(ILogObserver, observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def get(self, target: str, token: str = FULL) -> Response:
        """Read something."""
        return self.ask("GET", f"/api/v1/{target}", {"Authorization": f"Bearer {token}"})

    def change(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Response:
        """Change something with the full token."""
        given = {**CHANGE, **JSON} if headers is None else headers
        return self.ask(method, f"/api/v1/{target}", {"Authorization": f"Bearer {FULL}", **given}, body)

    def only_query(self) -> Any:
        """Return the one query that was asked."""
        (query,) = self.queries
        self.queries.clear()
        return query


class ReadingTests(ApiCase):
    """GET."""

    def test_connections(self) -> None:
        """The parameters become the query, and the fields of the reply the JSON, without the merging keys."""
        self.reply = ConnectionsReply(connections=[ROW], total=7, next="c2", keys=[1.0])
        target = (
            "connections?subject=%C3%A4nn&address=10.0.0.1&state=live&sort=lag&limit=1&cursor=c1&destination=/queue/x"
        )
        answer = self.get(target)
        self.assertEqual(answer.status, 200)
        value = answer.json()
        self.assertEqual({**value, "connections": None}, {"connections": None, "total": 7, "next": "c2", "missing": []})
        (row,) = value["connections"]
        self.assertEqual((row["state"], row["subject"], row["lag"]), ("live", "<img onerror=alert(1)>", None))
        expected = ConnectionsQuery(
            subject="änn",
            address="10.0.0.1",
            destination="/queue/x",
            state=ConnectionState.LIVE,
            sort=SortKey.LAG,
            limit=1,
            cursor="c1",
        )
        self.assertEqual(self.only_query(), expected)

    def test_defaults(self) -> None:
        self.reply = ConnectionsReply(connections=[], total=0)
        self.get("connections")
        self.assertEqual(self.only_query(), ConnectionsQuery())

    def test_connection(self) -> None:
        self.reply = ConnectionReply(details=DETAILS)
        value = self.get("connections/r-1").json()
        self.assertEqual((value["connection"]["id"], value["heart_beat"], value["limit"]), ("r-1", [10.0, 0.0], 5))
        self.assertEqual(self.only_query(), ConnectionQuery(id="r-1"))
        self.reply = ConnectionReply(details=None)
        for target in ("connections/r-2", "connections/a%0Ab", "connections/%FF", "connections/" + "x" * 301):
            self.assertEqual(self.get(target).status, 404, target)

    def test_destinations_and_processes(self) -> None:
        self.reply = DestinationsReply(destinations=[], missing=["worker-2"])
        self.assertEqual(self.get("destinations").json(), {"destinations": [], "missing": ["worker-2"]})
        self.assertEqual(self.only_query(), DestinationsQuery())
        self.reply = ProcessesReply(processes=[])
        self.assertEqual(self.get("processes").json(), {"processes": [], "missing": []})
        self.assertEqual(self.only_query(), ProcessesQuery())

    def test_events(self) -> None:
        self.reply = EventsReply(events=[EventRow(id="1", time=None, size=2)], complete=True, next=None)
        value = self.get("events?destination=/queue/x&after=0&limit=3&filter=a:b:c&filter=a:&filter=d:1").json()
        self.assertEqual(value["events"], [{"id": "1", "time": None, "size": 2, "body": None}])
        expected = EventsQuery(destination="/queue/x", after="0", limit=3, filter={"a": ["b:c", ""], "d": ["1"]})
        self.assertEqual(self.only_query(), expected)
        self.assertEqual(self.get("events?destination=/queue/x&bodies=true").status, 200)
        self.assertTrue(self.only_query().has_bodies)

    def test_bodies_need_the_full_token(self) -> None:
        self.reply = EventsReply(events=[], complete=True, next=None)
        for page, part in product(("events", "trace"), ("bodies=true", "filter=a:b")):
            answer = self.get(f"{page}?destination=/queue/x&{part}", READ)
            self.assertEqual(answer.status, 403)
            self.assertIn("--admin-token-file", answer.json()["error"])
        self.assertEqual((self.queries, self.traces), ([], []))
        self.assertEqual(self.get("events?destination=/queue/x&bodies=false", READ).status, 200)

    def test_explain(self) -> None:
        self.reply = ExplainReply(outcome=DeliveryOutcome.FILTERED, text="The filter hides it.", field="to")
        value = self.get("explain?event=1-0&connection=r-1").json()
        expected = {"outcome": "filtered", "text": "The filter hides it.", "destination": None, "field": "to"}
        self.assertEqual(value, expected)
        self.assertEqual(self.only_query(), ExplainQuery(event="1-0", connection="r-1"))

    def test_refusals(self) -> None:
        """What the processes refuse becomes an error."""
        for refusal, status in (
            (UnknownDestination("/queue/x is not served here"), 404),
            (SourceUnavailable("no answer in time"), 503),
            (PayloadRefused(PayloadFault.BAD_FIELD, "no cursor"), 400),
        ):
            self.reply = refusal
            answer = self.get("events?destination=/queue/x")
            self.assertEqual((answer.status, answer.json()), (status, {"error": str(refusal)}))

    def test_wrong_kind_of_reply(self) -> None:
        self.reply = KickReply(disconnected=1)
        self.assertEqual(self.get("overview").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_session(self) -> None:
        expected = {"level": "full", "version": __version__, "listeners": list(LISTENERS), "demo": False}
        self.assertEqual(self.get("session").json(), expected)
        self.assertEqual(self.get("session", READ).json()["level"], "read")
        self.assertEqual(self.get("session", "wrong").json()["level"], "none")
        self.assertEqual(self.ask("GET", "/api/v1/session").json()["level"], "none")

    def test_documents(self) -> None:
        self.assertEqual(self.get("openapi.json", READ).json()["openapi"], "3.1.0")
        self.assertEqual(self.get("asyncapi.json", READ).json(), {})

    def test_wrong_parameters(self) -> None:
        for query, reason in (
            ("limit=0", "limit: give a whole number from 1 to 1000"),
            ("limit=1001", "limit: give a whole number"),
            ("limit=%2B5", "limit: give a whole number"),
            ("limit=" + "9" * 5000, "limit: give a whole number"),
            ("state=bad", "state: give opening, live, catching-up, slow, closing"),
            ("subject=", "subject: give 1 to 300 printable characters"),
            ("subject=a%0Ab", "subject: give"),
            ("subject=" + "x" * 301, "subject: give"),
            ("subject=a&subject=b", "give subject once"),
            ("limt=5", "there is no parameter limt here; there are subject, address"),
            ("a%0Ab=5", "there is no parameter this name here"),
            ("limit", "percent-encoded"),
            ("subject=%FF", "percent-encoded"),
            ("&".join(["limit=1"] * 101), "percent-encoded"),
        ):
            answer = self.get(f"connections?{query}")
            self.assertEqual(answer.status, 400, query)
            self.assertIn(reason, answer.json()["error"])
        for target, reason in (
            ("events", "destination is needed"),
            ("events?destination=/x&bodies=yes", "bodies: give true or false"),
            ("events?destination=/x&filter=a", "filter: give field:value"),
            ("events?destination=/x&filter=:b", "filter: give field:value"),
            ("events?destination=/x" + "&filter=a:b" * 21, "give filter at most 20 times"),
            ("overview?x=1", "there is no parameter x here"),
        ):
            answer = self.get(target)
            self.assertEqual(answer.status, 400, target)
            self.assertIn(reason, answer.json()["error"])
        self.assertEqual(self.queries, [])

    def test_head(self) -> None:
        self.reply = ProcessesReply(processes=[])
        answer = self.ask("HEAD", "/api/v1/processes", {"Authorization": f"Bearer {READ}"})
        self.assertEqual((answer.status, answer.headers["content-length"]), (200, "30"))

    def test_other_methods(self) -> None:
        for target, allowed in (
            ("connections", "GET, HEAD, DELETE"),
            ("drain", "POST, DELETE"),
            ("events", "GET, HEAD"),
        ):
            answer = self.change("PUT", target)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, allowed))


class ChangingTests(ApiCase):
    """Requests that change something, and the line that each leaves in the log."""

    def test_kick_by_id(self) -> None:
        self.reply = KickReply(disconnected=1)
        answer = self.change("DELETE", "connections/r-1?reason=too%20loud")
        self.assertEqual((answer.status, answer.json()), (200, {"disconnected": 1, "missing": []}))
        self.assertEqual(self.only_query(), KickCommand(id="r-1", reason="too loud"))
        self.assertEqual(self.lines, ["admin page: disconnect by full token: connection r-1, reason too loud"])

    def test_kick_nobody(self) -> None:
        """It is unknown whether there is such a connection if a worker does not answer."""
        self.reply = KickReply(disconnected=0)
        self.assertEqual(self.change("DELETE", "connections/r-1").status, 404)
        self.assertEqual(self.lines, ["admin page: disconnect by full token failed: connection r-1"])
        self.reply = KickReply(disconnected=0, missing=["worker-1"])
        self.assertEqual(self.change("DELETE", "connections/r-1").status, 200)

    def test_kick_by_subject(self) -> None:
        self.reply = KickReply(disconnected=0)
        self.assertEqual(self.change("DELETE", "connections?subject=ann&reason=").status, 200)
        self.assertEqual(self.only_query(), KickCommand(subject="ann"))
        self.assertEqual(self.lines, ["admin page: disconnect by full token: subject ann"])
        self.assertEqual(self.change("DELETE", "connections").status, 400)
        self.assertEqual(self.change("DELETE", f"connections?subject=ann&reason={'x' * 201}").status, 400)

    def test_drain(self) -> None:
        for method, is_on, action in (("POST", True, "drain"), ("DELETE", False, "end of drain")):
            self.reply = DrainReply(draining=is_on, connections=3)
            answer = self.change(method, "drain")
            self.assertEqual(answer.json(), {"draining": is_on, "connections": 3, "missing": []})
            self.assertEqual(self.only_query(), DrainCommand(is_on=is_on))
            self.assertEqual(self.lines.pop().partition(": draining")[0], f"admin page: {action} by full token")

    def test_publish(self) -> None:
        self.assertEqual(self.change("POST", "publish/queue/message", b"{}").json(), {"id": "0c1d2e3f-7-1"})
        self.assertEqual(self.published, [("/queue/message", b"{}")])
        self.assertEqual(self.lines, ["admin page: publish by full token: destination /queue/message"])

    def test_revoke(self) -> None:
        self.assertEqual(self.change("POST", "revoke", b'{"jti": "a"}').status, 200)
        self.assertEqual(self.lines, ["admin page: revoke by full token: jti a"])

    def test_no_forged_lines(self) -> None:
        """A name that could not be anybody's never reaches the log."""
        for target in ("publish/queue/a%0Aadmin", "publish/" + "x" * 301):
            self.assertEqual(self.change("POST", target, b"{}").status, 404)
        self.assertEqual(self.change("DELETE", "connections/a%0Aadmin").status, 404)
        self.assertEqual((self.lines, self.published, self.queries), ([], [], []))

    def test_what_a_page_elsewhere_may_not(self) -> None:
        """A browser sends neither the header nor JSON to another origin without asking, which airyd refuses."""
        self.reply = KickReply(disconnected=1)
        for headers, status in (
            ({}, 400),
            ({"X-Airyd-Request": "0"}, 400),
            ({"Content-Type": "text/plain"}, 400),
            ({"Content-Type": "application/x-www-form-urlencoded"}, 400),
            ({**CHANGE, "Origin": "http://example.org"}, 403),
            ({**JSON, "Origin": "null"}, 403),
            (CHANGE, 200),
            (JSON, 200),
            ({**CHANGE, "Origin": "http://127.0.0.1:8081"}, 200),
        ):
            self.assertEqual(self.change("DELETE", "connections/r-1", b"", headers).status, status, headers)
        self.assertEqual(len(self.queries), 3)
        for headers, status in ((CHANGE, 415), ({"Content-Type": "text/plain"}, 415)):
            self.assertEqual(self.change("POST", "revoke", b'{"jti": "a"}', headers).status, status)


class LinesTests(ApiCase):
    """``POST /api/v1/publish/...`` with JSON lines."""

    def lines_of(self, body: bytes, target: str = "publish/queue/message") -> Response:
        """Publish lines."""
        return self.change("POST", target, body, {"Content-Type": JSON_LINES})

    def test_answer_for_each(self) -> None:
        refused = fail(PayloadRefused(PayloadFault.NOT_JSON_OBJECT, "no object"))
        self.outcomes = [succeed("1"), refused, succeed("2")]
        answer = self.lines_of(b'{"a":1}\n[]\n{"b":2}\n')
        self.assertEqual(answer.headers["content-type"], JSON_LINES)
        self.assertEqual(answer.body, b'{"id":"1"}\n{"error":"no object"}\n{"id":"2"}\n')
        self.assertEqual([body for _, body in self.published], [b'{"a":1}', b"[]", b'{"b":2}'])
        self.assertEqual(self.lines, ["admin page: publish by full token: destination /queue/message, lines 3"])

    def test_one_after_another(self) -> None:
        """An event is published when the source has the one before it."""
        outcome = self.outcome = Deferred[str]()
        connection = self.connect()
        headers = {"Authorization": f"Bearer {FULL}", "Content-Type": JSON_LINES}
        connection.ask("POST", "/api/v1/publish/queue/message", headers, b"{}\n{}")
        self.assertEqual(len(self.published), 1)
        self.outcome = succeed("2")
        outcome.callback("1")
        self.assertEqual(connection.read().body, b'{"id":"1"}\n{"id":"2"}\n')

    def test_pieces(self) -> None:
        """Others get their turn after every 50 events."""
        connection = self.connect()
        headers = {"Authorization": f"Bearer {FULL}", "Content-Type": JSON_LINES}
        connection.ask("POST", "/api/v1/publish/queue/message", headers, b"{}\n" * 120)
        self.assertEqual(len(self.published), 50)
        self.clock.advance(0)
        self.assertEqual(len(connection.read().body.splitlines()), 120)

    def test_source_that_is_gone(self) -> None:
        """The rest is not tried, since each event could wait for ten seconds."""
        self.outcome = fail(SourceUnavailable("gone"))
        self.assertEqual(self.lines_of(b"{}\n{}\n{}").body, b'{"error":"gone"}\n' * 3)
        self.assertEqual(len(self.published), 1)

    def test_unknown_destination(self) -> None:
        self.outcome = fail(UnknownDestination("/queue/x is not served here"))
        self.assertEqual(self.lines_of(b"{}\n{}").status, 404)

    def test_sizes(self) -> None:
        self.assertEqual((self.lines_of(b"").status, self.lines_of(b"").body), (200, b""))
        self.assertEqual(self.lines_of(b"\n" * (MOST_EVENTS + 1)).status, 413)
        self.assertEqual(self.published, [])
        self.assertEqual(self.lines_of(b"x" * MOST_BATCH).status, 200)
        connection = self.connect()
        headers = {"Content-Type": JSON_LINES, "Content-Length": str(MOST_BATCH + 1)}
        connection.ask("POST", "/api/v1/publish/queue/message", headers)
        self.assertEqual(connection.read().status, 413)

    def test_the_old_path_takes_one_event(self) -> None:
        headers = {"Authorization": f"Bearer {FULL}", "Content-Type": JSON_LINES}
        self.assertEqual(self.ask("POST", "/publish/queue/message", headers, b"{}").status, 415)


class LevelCase(AdminCase):
    """Sends a request for each route."""

    #: The statuses that show that a request was let in: the stubs answer nothing useful.
    let_in = (200, 204, 400, 404, 500)

    def statuses(self, authorization: dict[str, str]) -> dict[str, int]:
        """Return the status of each route that is neither public nor about health."""
        found = {}
        for route in ROUTES:
            if route.access in (Access.PUBLIC, Access.HEALTH):
                continue
            headers = {**authorization, **CHANGE, **JSON}
            found[route.name] = self.ask(route.method, path_of(route), headers, b"{}").status
        self.flushLoggedErrors(AssertionError)
        return found

    def names(self, *accesses: Access) -> set[str]:
        """Return the routes with these needs."""
        return {route.name for route in ROUTES if route.access in accesses}


class NoTokensTests(LevelCase):
    """Without tokens: reading on loopback, and the old paths."""

    def test_levels(self) -> None:
        statuses = self.statuses({})
        forbidden = {name for name, status in statuses.items() if status == 403}
        self.assertEqual(forbidden, self.names(Access.FULL))
        self.assertLessEqual({status for status in statuses.values() if status != 403}, set(self.let_in))

    def test_what_to_do(self) -> None:
        answer = self.ask("POST", "/api/v1/drain", CHANGE)
        self.assertEqual(answer.status, 403)
        self.assertIn("--admin-token-file", answer.json()["error"])
        self.assertEqual(self.ask("GET", "/api/v1/events?destination=/queue/x&bodies=true").status, 403)

    def test_session(self) -> None:
        self.assertEqual(self.ask("GET", "/api/v1/session").json()["level"], "open")
        self.assertEqual(self.ask("GET", "/api/v1/session", {"Authorization": "Bearer x"}).json()["level"], "open")
        self.assertEqual(self.ask("GET", "/api/v1/session", local=UNIXAddress(b"/a")).json()["level"], "open")

    def test_names_that_lead_here(self) -> None:
        """DNS rebinding gets neither data nor the pages."""
        for target in ("/", "/console/x.js", "/api/v1/session", "/api/v1/overview"):
            self.assertEqual(self.ask("GET", target, {"Host": "example.org"}).status, 421, target)


class BothTokensTests(LevelCase):
    """With both tokens."""

    token: str | None = FULL
    read_token = READ

    def test_full(self) -> None:
        self.assertLessEqual(set(self.statuses({"Authorization": f"Bearer {FULL}"}).values()), set(self.let_in))

    def test_read(self) -> None:
        statuses = self.statuses({"Authorization": f"Bearer {READ}"})
        forbidden = {name for name, status in statuses.items() if status == 403}
        self.assertEqual(forbidden, self.names(Access.FULL, Access.FULL_OR_OPEN))

    def test_none(self) -> None:
        for headers in ({}, {"Authorization": "Bearer nobody's"}, {"Cookie": "airyd_session=x"}):
            self.assertEqual(set(self.statuses(headers).values()), {401}, headers)
        self.assertEqual((self.queries, self.traces, self.published, self.revoked), ([], [], [], []))


class ReadTokenTests(BothTokensTests):
    """With the read token alone, nobody has the full one."""

    token: str | None = None

    def test_full(self) -> None:
        self.assertEqual(set(self.statuses({"Authorization": f"Bearer {FULL}"}).values()), {401})
