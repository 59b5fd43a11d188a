"""The methods of the server, by what they are for: data, faults, motion."""
