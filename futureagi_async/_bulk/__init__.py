"""Reads many lists at once: the order of pages, the workers, and the delivery of calls to the caller."""
