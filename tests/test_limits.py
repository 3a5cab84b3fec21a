"""The table of limits."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

from twisted.trial.unittest import SynchronousTestCase

from airyd.limits import KIB, LIMITS, MIB, MOST_TOKEN_SIZE, Limits


class LimitsTests(SynchronousTestCase):
    """The limits, and the table from which their options are made."""

    def test_the_table_has_all_in_order(self) -> None:
        self.assertEqual([name for name, _, _ in LIMITS], [field.name for field in fields(Limits)])

    def test_the_table_has_the_defaults(self) -> None:
        self.assertEqual(
            {name: default for name, default, _ in LIMITS}, {n: getattr(Limits(), n) for n, _, _ in LIMITS}
        )

    def test_each_is_explained_with_its_unit(self) -> None:
        for name, _, text in LIMITS:
            self.assertRegex(text, r"^[a-z].*[a-zA-Z]$", name)

    def test_names_can_be_options(self) -> None:
        for name, _, _ in LIMITS:
            self.assertRegex(name, r"^[a-z]+(_[a-z]+)*$")

    def test_the_defaults_that_the_documentation_states(self) -> None:
        limits = Limits()
        self.assertEqual(limits.connect_timeout, 10)
        self.assertEqual((limits.request_head, limits.connect_frame, limits.frame), (16 * KIB, 16 * KIB, 320 * KIB))
        self.assertEqual((limits.body, limits.headers, limits.header_line), (256 * KIB, 100, 8 * KIB))
        self.assertEqual((limits.subscriptions, limits.transactions), (256, 16))
        self.assertEqual((limits.transaction_bytes, limits.buffered), (1 * MIB, 2 * MIB))

    def test_an_event_of_the_largest_size_fits_a_frame(self) -> None:
        limits = Limits()
        self.assertLess(limits.body + limits.header_line, limits.frame)

    def test_a_token_fits(self) -> None:
        """With ``Authorization`` before it on one line, and with ``Bearer`` in a body."""
        self.assertEqual((Limits().token_size, Limits().token_line, Limits().token_body), (8192, 8214, 8199))
        self.assertEqual(Limits(header_line=9000).token_line, 9000)
        self.assertEqual(Limits(token_size=MOST_TOKEN_SIZE).token_line, 131_094)

    def test_they_do_not_change_while_running(self) -> None:
        with self.assertRaises(FrozenInstanceError):
            Limits().body = 1  # type: ignore[misc]  # that is the point
