"""How records are written: JSON Lines, CSV and Parquet, from one schema. `writers` chooses."""
