"""What makes ``twistd airyd`` known; the rest is imported when it is asked for."""

from twisted.application.service import ServiceMaker

airyd = ServiceMaker("airyd", "airyd.tap", "A STOMP-over-WebSocket event gateway.", "airyd")
