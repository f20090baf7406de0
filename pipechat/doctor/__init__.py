"""What may be wrong with a set-up: looked at in bounded time, judged apart from the looking."""
