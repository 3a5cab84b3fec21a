"""How hypothesis makes examples of the model: lists of what happens, the usual more often."""

from __future__ import annotations

import sys
from typing import Final

from hypothesis import strategies as st

from airyd.stomp.spec import AckMode, Version
from tests.model.operations import (
    Acknowledge,
    AnswerPublishing,
    AnswerReading,
    AnswerWatch,
    Arm,
    Evict,
    Feed,
    Grow,
    Kernel,
    Look,
    Lose,
    Miss,
    Operation,
    Publish,
    Resume,
    Subscribe,
    Turn,
    Unsubscribe,
)
from tests.model.twin import Prompt
from tests.model.world import CLIENTS, DESTINATIONS, EVERYTHING, LATE, USERS_EVERYTHING

_SEAT: Final = st.integers(0, CLIENTS - 1)
_SOME: Final = st.integers(0, 3)
# Most things happen to the same few, so that they meet.
_DESTINATION: Final = st.sampled_from([*DESTINATIONS[:1] * 3, *DESTINATIONS])
_SELDOM: Final = st.sampled_from([*[False] * 9, True])
_RESUMES: Final = (*[Resume.NOTHING] * 3, *[Resume.OWN] * 8, *Resume)

#: Bytes that wait for a client before it reads from the history; many clients are never so slow.
_MARK: Final = st.sampled_from([sys.maxsize, 0, 250, 700])

_VERSION: Final = st.sampled_from([Version.V1_2, Version.V1_1, Version.V1_0])
#: Anybody with any subscription.
_SUBSCRIBE: Final = st.builds(
    Subscribe,
    seat=_SEAT,
    version=_VERSION,
    tls=_SELDOM,
    bound=st.sampled_from([100_000, 1500]),
    mark=_MARK,
    name=st.sampled_from("11101"),
    destination=_DESTINATION,
    ack=st.sampled_from([*[AckMode.AUTO] * 4, AckMode.CLIENT, AckMode.CLIENT_INDIVIDUAL]),
    prefetch=st.integers(1, 4),
    resume=st.sampled_from(_RESUMES),
    side=st.sampled_from([None, None, None, "0", "1"]),
)
#: Clients whose subscriptions all belong into one group, and that are soon too slow.
_ALIKE: Final = st.builds(
    Subscribe,
    seat=_SEAT,
    version=_VERSION,
    tls=_SELDOM,
    bound=st.just(900),
    mark=_MARK,
    name=st.just("1"),
    destination=st.just(DESTINATIONS[0]),
    ack=st.just(AckMode.AUTO),
    prefetch=st.just(1),
    resume=st.sampled_from([Resume.NOTHING, Resume.NOTHING, Resume.OWN]),
    side=st.none(),
)
#: Clients that have something to catch up with.
_RETURNING: Final = st.builds(
    Subscribe,
    seat=_SEAT,
    version=_VERSION,
    tls=_SELDOM,
    bound=st.just(100_000),
    mark=_MARK,
    name=st.sampled_from("01"),
    destination=st.just(DESTINATIONS[0]),
    ack=st.sampled_from([AckMode.AUTO, AckMode.AUTO, AckMode.CLIENT]),
    prefetch=st.integers(1, 4),
    resume=st.sampled_from([Resume.OWN, Resume.EMPTY, Resume.NEWEST, Resume.OLD]),
    side=st.sampled_from([None, None, None, "0"]),
)
#: Clients that have a part of each destination, beside others that have one.
_WILD: Final = st.builds(
    Subscribe,
    seat=_SEAT,
    version=_VERSION,
    tls=_SELDOM,
    bound=st.sampled_from([100_000, 1500]),
    mark=_MARK,
    name=st.sampled_from("1101"),
    destination=st.sampled_from([*[EVERYTHING] * 3, *DESTINATIONS, LATE]),
    ack=st.sampled_from([*[AckMode.AUTO] * 2, *[AckMode.CLIENT] * 2, AckMode.CLIENT_INDIVIDUAL]),
    prefetch=st.integers(1, 4),
    resume=st.sampled_from([*[Resume.NOTHING] * 3, Resume.OWN]),
    side=st.sampled_from([None, None, None, "0", "1"]),
)
#: Clients with user destinations, each of which has a filter, beside others with the plain ones.
_USERS: Final = st.builds(
    Subscribe,
    seat=_SEAT,
    version=_VERSION,
    tls=_SELDOM,
    bound=st.sampled_from([100_000, 1500]),
    mark=_MARK,
    name=st.sampled_from("1201"),
    destination=st.sampled_from(
        [*[f"/user{DESTINATIONS[0]}"] * 4, *DESTINATIONS, f"/user{LATE}", *[USERS_EVERYTHING] * 2, EVERYTHING]
    ),
    ack=st.sampled_from([*[AckMode.AUTO] * 4, AckMode.CLIENT, AckMode.CLIENT_INDIVIDUAL]),
    prefetch=st.integers(1, 4),
    resume=st.sampled_from(_RESUMES),
    side=st.sampled_from(["0", "1"]),
)
_PUBLISH = st.builds(
    Publish, destination=_DESTINATION, count=st.integers(1, 4), size=st.sampled_from([0, 200]), elsewhere=st.booleans()
)
_FEED = st.builds(Feed, counts=st.tuples(*[st.integers(0, 4) for _ in DESTINATIONS]))
_TURN = st.builds(Turn, seconds=st.sampled_from([*[0] * 12, 1, 6]))
_KERNEL = st.builds(Kernel, seat=_SEAT, room=st.sampled_from([None, 0, 100, 400]))
_ANSWER_READING = st.builds(AnswerReading, which=_SOME, fails=_SELDOM)
_ACKNOWLEDGE = st.builds(Acknowledge, seat=_SEAT, which=_SOME)


def _lists(
    subscribe: st.SearchStrategy[Subscribe], *more: st.SearchStrategy[Operation]
) -> st.SearchStrategy[list[list[Operation]]]:
    """Return lists of anything that can happen, the usual more often; lists of lists grow long, and still shrink."""
    operation: st.SearchStrategy[Operation] = st.one_of(
        *[subscribe] * 5,
        *[_PUBLISH] * 4,
        *[_FEED] * 4,
        *[_TURN] * 3,
        *[_ANSWER_READING] * 4,
        *[_ACKNOWLEDGE] * 2,
        *[_KERNEL] * 2,
        *[st.builds(Look, which=_SOME)] * 2,
        st.builds(AnswerWatch, lag=st.integers(0, 2), fails=_SELDOM),
        st.builds(AnswerWatch, lag=st.just(0), fails=st.just(False)),
        st.builds(AnswerPublishing, which=_SOME, is_answered=st.booleans(), fails=_SELDOM),
        st.builds(Unsubscribe, seat=_SEAT, which=_SOME, again=st.booleans()),
        st.builds(Lose, seat=_SEAT),
        st.builds(Arm, seat=_SEAT, which=st.sampled_from([None, 0, 1])),
        st.builds(Evict, destination=_DESTINATION, left=st.integers(0, 5)),
        st.builds(Miss, destination=_DESTINATION, count=_SOME),
        *more,
    )
    return st.lists(st.lists(operation, min_size=2, max_size=20), min_size=5, max_size=40)


OPERATIONS: Final = st.one_of(_lists(_SUBSCRIBE), _lists(_ALIKE), _lists(_RETURNING))
#: With wildcards, and a catalogue that grows.
_GROWING: Final[tuple[st.SearchStrategy[Operation], ...]] = (
    *[st.builds(Grow, fails=st.booleans())] * 4,
    *[st.builds(AnswerWatch, lag=st.just(0), fails=st.just(False))] * 2,
    *[st.builds(Publish, destination=st.just(LATE), count=_SOME, size=st.just(0), elsewhere=st.booleans())] * 2,
    *[st.builds(Feed, counts=st.just((2,) * (len(DESTINATIONS) + 1)))] * 2,
)
WILD_OPERATIONS: Final = _lists(_WILD, *_GROWING)
#: With user destinations, and a catalogue that grows.
USERS_OPERATIONS: Final = _lists(_USERS, *_GROWING)
PROMPT: Final = st.builds(Prompt, watch=st.booleans(), replay=st.booleans(), publish=st.booleans(), feed=st.booleans())
