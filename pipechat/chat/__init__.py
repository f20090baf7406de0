"""A conversation at a terminal: the loop, what its commands do, and how lines are edited."""
