"""The collections of records, and the two kinds whose content is a blob."""
