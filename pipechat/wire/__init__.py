"""Bytes and JSON of a response to chunks, and its errors to ours. Pure."""
