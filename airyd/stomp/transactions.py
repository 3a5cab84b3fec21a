"""A connection's open transactions and their limits (STOMP 1.2, "BEGIN")."""

from __future__ import annotations

from typing import Final

from airyd.errors import Fault, StompError
from airyd.limits import Limits
from airyd.stomp.requests import Ack, Send

#: Bytes that an operation counts in addition to its text and body, so that many tiny ones are limited, too.
OPERATION_BYTES: Final = 100


def _cost(operation: Send | Ack) -> int:
    if isinstance(operation, Send):
        return OPERATION_BYTES + len(operation.destination) + len(operation.body)
    return OPERATION_BYTES + len(operation.message_id)


class Transactions:
    """The operations of open transactions, which wait for a COMMIT."""

    __slots__ = ("_bytes", "_limits", "_open")

    def __init__(self, limits: Limits) -> None:
        """Allow ``limits.transactions`` open transactions and ``limits.transaction_bytes`` bytes in all of them."""
        self._limits = limits
        self._open: dict[str, list[Send | Ack]] = {}
        self._bytes = 0

    def begin(self, name: str) -> None:
        """Open a transaction.

        Raises ``StompError`` if it is open already, or if too many are open.
        """
        if name in self._open:
            raise StompError(Fault.DUPLICATE_TRANSACTION, f'Transaction "{name}" has begun already.')
        if len(self._open) >= self._limits.transactions:
            raise StompError(
                Fault.TOO_MANY_TRANSACTIONS,
                f"A connection must not have more than {self._limits.transactions} open transactions.",
            )
        self._open[name] = []

    def add(self, name: str, operation: Send | Ack) -> None:
        """Add an operation to an open transaction.

        Raises ``StompError`` if the transaction is unknown, or if the open transactions become too big together.
        """
        operations = self._find(name)
        cost = _cost(operation)
        if self._bytes + cost > self._limits.transaction_bytes:
            raise StompError(
                Fault.TRANSACTION_TOO_BIG,
                f"A connection's open transactions must not hold more than {self._limits.transaction_bytes} bytes.",
            )
        self._bytes += cost
        operations.append(operation)

    def end(self, name: str) -> tuple[Send | Ack, ...]:
        """Close a transaction and return its operations in order.

        Raises ``StompError`` if it is unknown.
        """
        operations = self._find(name)
        del self._open[name]
        self._bytes -= sum(map(_cost, operations))
        return tuple(operations)

    def _find(self, name: str) -> list[Send | Ack]:
        operations = self._open.get(name)
        if operations is None:
            raise StompError(Fault.UNKNOWN_TRANSACTION, f'Transaction "{name}" has not begun.')
        return operations
