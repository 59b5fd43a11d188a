"""Many lists at once: which page is read next by which worker, and how its calls reach the caller."""
