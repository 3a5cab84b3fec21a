"""Reading the files that options name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import ConfigurationError
from airyd.files import is_folder, read_bytes, read_file, read_line, read_text
from airyd.spelling import did_you_mean


class FilesTests(SynchronousTestCase):
    """A refusal is one line that names the option and the file, without the content."""

    def file(self, content: bytes) -> str:
        """Return the path of a new file."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def refusal(self, read: Callable[..., object], path: str, *arguments: object) -> str:
        """Return why a file is refused."""
        said = str(self.assertRaises(ConfigurationError, read, "--some-file", path, *arguments))
        self.assertTrue(said.startswith(f"--some-file {path}".strip()), said)
        self.assertEqual(len(said.splitlines()), 1)
        self.assertNotIn("s3cret", said)
        return said

    def test_content(self) -> None:
        self.assertEqual(read_bytes("x", self.file(b"\xff\n")), b"\xff\n")
        self.assertEqual(read_text("x", self.file(b"a\r\nb\n")), "a\r\nb\n")
        self.assertEqual(read_text("x", self.file("\ufeffgrüße".encode())), "grüße")  # as some editors end a line
        for content in (b" a b ", b" a b \n", b" a b \r\n"):
            self.assertEqual(read_line("x", self.file(content)), " a b ")

    def test_a_pipe(self) -> None:
        """A command reads what a shell passes for ``<(command)``; the daemon must be able to read it again."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        os.write(writing, b"s3cret\n")
        self.assertIn("this is a pipe, which can be read only once", self.refusal(read_line, f"/dev/fd/{reading}"))
        os.close(writing)
        self.assertEqual(read_file(f"/dev/fd/{reading}", may_block=True), b"s3cret\n")

    def test_what_would_block(self) -> None:
        """A FIFO without a writer, a terminal and a device are refused at once; no descriptor is left open."""
        path = self.mktemp()
        os.mkfifo(path)
        controller, terminal = os.openpty()
        self.addCleanup(os.close, controller)
        self.addCleanup(os.close, terminal)
        before = os.listdir("/proc/self/fd")
        self.assertIn("this is a pipe", self.refusal(read_bytes, path))
        for device in ("/dev/zero", "/dev/null", os.ttyname(terminal)):
            self.assertIn("this is a device or a socket; name a file on disk", self.refusal(read_bytes, device))
        self.assertIn("a folder", self.refusal(read_bytes, os.curdir))
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_not_there(self) -> None:
        file = self.file(b"")
        self.assertIn("no such file", self.refusal(read_bytes, "/nothing/there"))
        self.assertIn("a folder", self.refusal(read_bytes, os.curdir))
        self.assertIn("cannot be read", self.refusal(read_bytes, f"{file}/below"))
        self.assertIn("cannot be read", self.refusal(read_bytes, "x" * 300))
        self.assertIn("name of a file", str(self.assertRaises(ConfigurationError, read_bytes, "--some-file", "a\0b")))
        self.assertEqual("--some-file is empty; name a file", self.refusal(read_bytes, ""))

    def test_folders(self) -> None:
        self.assertTrue(is_folder(os.curdir))
        for path in ("/nothing/there", "x" * 300, "a\0b", self.file(b"")):
            self.assertFalse(is_folder(path))

    def test_may_not_be_read(self) -> None:
        def forbidden(path: str, flags: int) -> int:
            raise PermissionError(13, "whatever the system calls it")

        self.patch(os, "open", forbidden)
        self.assertIn(f"(number {os.geteuid()}) may not read it", self.refusal(read_bytes, "/x"))

    def test_too_big(self) -> None:
        self.assertIn("more than 4 bytes", self.refusal(read_bytes, self.file(b"s3cret"), 4))
        said = str(self.assertRaises(ValueError, read_file, "/dev/zero", 4, may_block=True))
        self.assertIn("more than 4 bytes", said)

    def test_not_utf_8(self) -> None:
        self.assertIn("UTF-8", self.refusal(read_text, self.file(b"s3cret\xff")))

    def test_not_one_line(self) -> None:
        for content in (b"", b"\n", b"\r\n\r\n"):
            self.assertIn("the file is empty", self.refusal(read_line, self.file(content)))
        for content in (b"s3cret\ns3cret", b"s3cret\r\ns3cret\n", b"s3cret\rs3cret"):
            self.assertIn("several lines", self.refusal(read_line, self.file(content)))


class SpellingTests(SynchronousTestCase):
    """Suggestions for misspelt names."""

    def test_close(self) -> None:
        self.assertEqual(did_you_mean("soucre", ["source", "listen"], "--{}"), "; did you mean --source?")
        self.assertEqual(did_you_mean("SOURCE", ["source"]), "; did you mean source?")

    def test_nothing_is_close(self) -> None:
        self.assertEqual(did_you_mean("pigeon", ["source", "listen"]), ".")
