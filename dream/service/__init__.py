"""Serving many users at once: the queue, time limits and leased GPUs. No UI."""
