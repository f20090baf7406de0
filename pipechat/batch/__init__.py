"""Many questions in one run: items, the journal, the pace, and who asks."""
