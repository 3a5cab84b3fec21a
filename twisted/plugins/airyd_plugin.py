"""The plugin that gives twistd its command ``airyd``; airyd's own modules are imported when it is run."""

import signal
import sys

from twisted.application.service import ServiceMaker

from airyd.runtime import early_signals, garbage_collection

# twistd imports the plugins of all its commands; other commands must keep their signal handlers.
if "airyd" in sys.argv:
    garbage_collection.pause()
    early_signals.hold(signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2)

airyd = ServiceMaker("airyd", "airyd.tap", "A STOMP-over-WebSocket event gateway.", "airyd")
