"""One turn: what is sent, what its answer comes to, and the order in which it is made safe."""
