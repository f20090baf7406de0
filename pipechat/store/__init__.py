"""Sessions on disk: locked appends, spools, reading and rewriting."""
