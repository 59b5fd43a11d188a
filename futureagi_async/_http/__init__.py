"""One request: from a free slot to a decoded reply. The only folder that talks HTTP to the API."""
