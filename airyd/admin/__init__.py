"""The admin page: health, metrics, and publishing, for this machine only (twisted.web)."""
