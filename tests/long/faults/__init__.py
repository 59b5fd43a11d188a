"""What can go wrong, one row a fault: ``python -m tests.long faults`` prints the table."""
