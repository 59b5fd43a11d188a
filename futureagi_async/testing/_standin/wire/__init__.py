"""How the stand-in says what it knows: rows, numbers and columns in both dialects."""
