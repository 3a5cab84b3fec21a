"""What clients may rely on, for machines: JSON Schemas, and the AsyncAPI document of the WebSocket."""
