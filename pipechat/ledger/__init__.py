"""What requests used and what they cost."""
