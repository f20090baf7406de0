"""The request on its way: the SDK, its thread, its limits."""
