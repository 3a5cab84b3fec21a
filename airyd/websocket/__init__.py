"""WebSocket connections: opening handshake, frames, compression, origins, the socket itself."""
