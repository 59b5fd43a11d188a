"""Which rows are meant: search, filters and groups, with the vendor's own surprises."""
