"""pipechat: the Unix filter for chat models."""

__version__ = "0.1.0"
