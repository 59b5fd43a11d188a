"""What the stand-in knows: calls, the lists they stand in, and the seeded facts about them."""
