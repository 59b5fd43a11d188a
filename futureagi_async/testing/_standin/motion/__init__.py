"""How the lists change while they are read, and what was true at which virtual moment."""
