"""What the stand-in holds: calls, the lists they are in, and the seeded content of each call."""
