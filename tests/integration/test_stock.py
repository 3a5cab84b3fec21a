"""``--websocket stock``: on the wire airyd is the same over Autobahn's protocol as it comes."""

from __future__ import annotations

from tests.integration import test_handshake, test_websocket
from tests.integration.case import DaemonTestCase

for _module in (test_handshake, test_websocket):
    for _case in vars(_module).copy().values():
        if isinstance(_case, type) and issubclass(_case, DaemonTestCase) and _case is not DaemonTestCase:
            _name = f"Stock{_case.__name__}"
            _options = (*_case.options, "--websocket=stock")
            globals()[_name] = type(_name, (_case,), {"options": _options, "__module__": __name__})
