"""The admin page (twisted.web): health, metrics, publishing and revoking; loopback only, unless it has a token."""
