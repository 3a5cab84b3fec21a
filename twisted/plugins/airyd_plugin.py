"""What makes ``twistd airyd`` known; the rest is imported when it is asked for."""

import signal
import sys

from twisted.application.service import ServiceMaker

from airyd.runtime import signals

# twistd loads the plugins of all its commands: others keep their signals.
if "airyd" in sys.argv:
    signals.hold(signal.SIGHUP, signal.SIGTERM)

airyd = ServiceMaker("airyd", "airyd.tap", "A STOMP-over-WebSocket event gateway.", "airyd")
