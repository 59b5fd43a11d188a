"""Numbers and ids that follow from their parts alone: the same in every run and every process."""

import random
import uuid

_NAMESPACE = uuid.UUID("5f2d7c1e-86a4-4b0e-9d53-0c8be1a7f294")


def seeded_random(*parts: object) -> random.Random:
    """Return a generator of its own for these parts, so that no draw depends on what was drawn elsewhere."""
    return random.Random(":".join(map(str, parts)))  # noqa: S311 - sample data, no secrets


def seeded_uuid(*parts: object) -> str:
    """Return a lower-case UUID for these parts."""
    return str(uuid.uuid5(_NAMESPACE, ":".join(map(str, parts))))
