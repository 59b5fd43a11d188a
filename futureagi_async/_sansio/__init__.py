"""Decisions without I/O: no sockets, clocks, sleeps, randomness or environment."""
