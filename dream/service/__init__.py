"""What serves many at once: whose turn it is, how long it may take, and on what device. No UI."""
