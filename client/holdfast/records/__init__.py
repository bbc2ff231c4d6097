"""The collections of records, and of the two kinds whose content is a blob: artifacts and checkpoints."""
