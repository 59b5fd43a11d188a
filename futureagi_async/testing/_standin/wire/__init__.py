"""How the data look as JSON, in both dialects."""
