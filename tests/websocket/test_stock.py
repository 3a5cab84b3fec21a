"""The same tests over Autobahn's protocol as it comes (``--websocket stock``): airyd's trimming changes nothing."""

from __future__ import annotations

from tests.websocket import test_ending, test_frames, test_handshake, test_inflate, test_sending
from tests.websocket.case import WebSocketTestCase

for _module in (test_ending, test_frames, test_handshake, test_inflate, test_sending):
    for _case in vars(_module).copy().values():
        if isinstance(_case, type) and issubclass(_case, WebSocketTestCase) and _case is not WebSocketTestCase:
            _name = f"Stock{_case.__name__}"
            globals()[_name] = type(_name, (_case,), {"websocket": "stock", "__module__": __name__})
