"""Conversations as other programs keep them, read into turns."""
