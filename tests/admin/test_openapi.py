"""The OpenAPI document: what it says about the routes, and ``airyd openapi``."""

from __future__ import annotations

import io
import json
import re
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.trial.unittest import SynchronousTestCase

from airyd.admin.openapi import openapi_document
from airyd.admin.routes import ROUTES
from airyd.cli.main import main
from airyd.contracts.schemas import plain
from airyd.management.queries import LARGEST_PAGE


class DocumentTests(SynchronousTestCase):
    """The document."""

    def setUp(self) -> None:
        self.document = json.loads(json.dumps(openapi_document()))

    def test_valid(self) -> None:
        OpenAPIV31SpecValidator(self.document).validate()

    def test_all_routes(self) -> None:
        """Each route is in it once, with its access and its parameters."""
        names = [route.name for route in ROUTES]
        self.assertEqual(len(set(names)), len(names))
        operations = {
            operation["operationId"]: (method.upper(), path)
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }
        self.assertEqual(operations, {route.name: (route.method, route.path) for route in ROUTES})

    def test_plain_text(self) -> None:
        """Descriptions have no markup of docstrings, and summaries are one sentence."""
        text = json.dumps(self.document)
        self.assertEqual(re.findall(r":ivar|:class:|:data:|``|\bNone\b", text), [])
        for route in ROUTES:
            self.assertRegex(route.summary, r"^[A-Z][^.]*(\.\w+[^.]*)?[.]$", route.name)

    def test_replies(self) -> None:
        """The fields of the JSON are required and described; what is internal is missing."""
        page = self.document["components"]["schemas"]["ConnectionsReply"]
        self.assertEqual(page["required"], ["connections", "total", "next", "missing"])
        self.assertEqual(list(page["properties"]), page["required"])
        self.assertEqual(page["properties"]["total"]["description"], "how many connections match, on all pages")
        self.assertEqual(page["description"], "A page of connections.")

    def test_parameters(self) -> None:
        listed = self.document["paths"]["/api/v1/connections"]["get"]["parameters"]
        limit = next(each for each in listed if each["name"] == "limit")
        self.assertEqual(limit["schema"], {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": 50})

    def test_security(self) -> None:
        """What needs the full token never goes without a login."""
        paths = self.document["paths"]
        self.assertEqual(paths["/api/v1/drain"]["post"]["security"], [{"token": []}, {"session": []}])
        self.assertIn({}, paths["/api/v1/overview"]["get"]["security"])
        self.assertNotIn("security", paths["/healthz"]["get"])

    def test_words(self) -> None:
        self.assertEqual(plain("see :class:`Row`\n    and ``id``; None if not"), "see Row and `id`; null if not")


class CommandTests(SynchronousTestCase):
    """``airyd openapi``."""

    def run_command(self, *words: str) -> tuple[object, str, str]:
        """Return the exit status, and what was written to standard output and standard error."""
        out, err = io.BytesIO(), io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(out, "utf-8", write_through=True))
        self.patch(sys, "stderr", io.TextIOWrapper(err, "utf-8", write_through=True))
        status = self.assertRaises(SystemExit, main, ["openapi", *words]).code
        return status, out.getvalue().decode(), err.getvalue().decode()

    def test_printed(self) -> None:
        status, out, err = self.run_command()
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(json.loads(out), json.loads(json.dumps(openapi_document())))

    def test_arguments(self) -> None:
        status, out, err = self.run_command("http://127.0.0.1:8081")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("takes no arguments", err)
