"""An unfinished export: records and journal in a locked working directory, all of it a `workspace`."""
