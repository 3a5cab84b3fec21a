"""The table of faults: texts and close codes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from airyd.errors import CloseCode, Fault, StompError


class FaultTests(SynchronousTestCase):
    """The table of ERROR texts and close codes."""

    def test_only_logins_contain_401(self) -> None:
        # Airy's client logs its user out if the text has these digits.
        self.assertEqual(
            [fault for fault in Fault if "401" in fault.message],
            [Fault.UNAUTHORIZED, Fault.TOKEN_EXPIRED, Fault.TOKEN_REVOKED],
        )

    def test_texts_need_no_escaping(self) -> None:
        for fault in Fault:
            self.assertRegex(fault.message, r"^[0-9A-Za-z -]+$")
            self.assertEqual(fault.message, fault.message.strip())

    def test_no_two_are_alike(self) -> None:
        self.assertEqual(len({fault.message for fault in Fault}), len(Fault.__members__))

    def test_a_fault_never_closes_normally(self) -> None:
        for fault in Fault:
            self.assertIn(fault.close_code, set(CloseCode) - {CloseCode.NORMAL})

    def test_kinds(self) -> None:
        self.assertEqual(Fault.SLOW_CONSUMER.kind, "slow_consumer")

    def test_error(self) -> None:
        error = StompError(Fault.MISSING_HEADER, "SEND needs a header destination.", "r-1")
        self.assertEqual(str(error), "missing header: SEND needs a header destination.")
        self.assertEqual((error.fault, error.receipt), (Fault.MISSING_HEADER, "r-1"))
