"""What can go wrong, one row a fault: ``python -m tests.faults`` prints the table."""
