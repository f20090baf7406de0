"""Ids that a provider gives files and batches. Pure."""

_LONGEST = 512


def is_id(value: object) -> bool:
    """Whether that names a file or a batch. It becomes a part of a path, quoted: nothing in it
    leads elsewhere but dots."""
    if not isinstance(value, str) or value in ("", ".", "..") or len(value) > _LONGEST:
        return False
    return value.isprintable()
