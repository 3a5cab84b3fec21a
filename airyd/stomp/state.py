"""The states of a STOMP session as a table; ``python -m airyd.stomp.state`` prints it for the docs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final

from airyd.stomp.spec import FROM_CLIENT, Command


class State(IntEnum):
    """The state of a session; the number is its column in :data:`TABLE`."""

    AWAITING_CONNECT = 0
    AUTHENTICATING = 1
    CONNECTED = 2
    DISCONNECTING = 3
    FAILED = 4


class Outcome(Enum):
    """What happens to a frame that does not change the state."""

    REFUSED = "refused"
    HELD = "held"
    IGNORED = "ignored"


Step = State | Outcome

AWAITING_CONNECT, AUTHENTICATING, CONNECTED, DISCONNECTING, FAILED = State
REFUSED, HELD, IGNORED = Outcome

#: The effect of each frame in each state: the next state, or what happens to the frame. The server sends
#: CONNECTED and ERROR, the client all others (STOMP 1.2, "Connecting", "Client Frames", "DISCONNECT",
#: "ERROR"). A refused frame is answered with ERROR. RECEIPT and MESSAGE do not change the state.
# fmt: off
TABLE: Final[Mapping[str, tuple[Step, Step, Step, Step, Step]]] = MappingProxyType({
    # in state:            AWAITING_CONNECT  AUTHENTICATING  CONNECTED      DISCONNECTING  FAILED
    Command.CONNECT:      (AUTHENTICATING,   HELD,           REFUSED,       IGNORED,       IGNORED),
    Command.STOMP:        (AUTHENTICATING,   HELD,           REFUSED,       IGNORED,       IGNORED),
    Command.CONNECTED:    (REFUSED,          CONNECTED,      REFUSED,       REFUSED,       REFUSED),
    Command.SEND:         (REFUSED,          HELD,           CONNECTED,     IGNORED,       IGNORED),
    Command.SUBSCRIBE:    (REFUSED,          HELD,           CONNECTED,     IGNORED,       IGNORED),
    Command.UNSUBSCRIBE:  (REFUSED,          HELD,           CONNECTED,     IGNORED,       IGNORED),
    Command.ACK:          (REFUSED,          HELD,           CONNECTED,     IGNORED,       IGNORED),
    Command.NACK:         (REFUSED,          HELD,           CONNECTED,     IGNORED,       IGNORED),
    Command.BEGIN:        (REFUSED,          HELD,           CONNECTED,     IGNORED,       IGNORED),
    Command.COMMIT:       (REFUSED,          HELD,           CONNECTED,     IGNORED,       IGNORED),
    Command.ABORT:        (REFUSED,          HELD,           CONNECTED,     IGNORED,       IGNORED),
    Command.DISCONNECT:   (REFUSED,          HELD,           DISCONNECTING, IGNORED,       IGNORED),
    Command.ERROR:        (FAILED,           FAILED,         FAILED,        FAILED,        FAILED),
})
# fmt: on


def _states_that(outcome: Outcome) -> frozenset[State]:
    return frozenset(state for state in State if all(TABLE[command][state] is outcome for command in FROM_CLIENT))


#: The states in which the client's frames are held unparsed.
HOLDING: Final = _states_that(HELD)
#: The states in which all frames of the client are ignored.
DEAF: Final = _states_that(IGNORED)


def _frame_name(command: str) -> str:
    return command if command in FROM_CLIENT else f"{command} (sent)"


def _list_table() -> list[str]:
    rows = [["frame", *(state.name for state in State)]]
    rows += [
        [_frame_name(command), *(f"**{s.name}**" if isinstance(s, State) else s.value for s in steps)]
        for command, steps in TABLE.items()
    ]
    lines = [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", ""]
    for first, *others in rows:
        lines.append(f"   * - {first}")
        lines += [f"     - {cell}" for cell in others]
    return lines


def _diagram() -> list[str]:
    lines = ["::", ""]
    for state in State:
        arrows: dict[State, list[str]] = {}
        for command, steps in TABLE.items():
            step = steps[state]
            if isinstance(step, State):
                arrows.setdefault(step, []).append(_frame_name(command))
        lines.append(f"    {state.name}")
        lines += [f"      |-- {', '.join(frames)} --> {target.name}" for target, frames in sorted(arrows.items())]
        lines.append("")
    return lines


def render() -> str:
    """Return the table and a diagram of the transitions, in reStructuredText."""
    return "\n".join([*_list_table(), "", *_diagram()])


if __name__ == "__main__":
    print(render(), end="")
