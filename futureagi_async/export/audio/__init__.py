"""Call audio: which files, from where, and what became of them."""
