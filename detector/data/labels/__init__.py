"""Words of a page: read from the formats they come in and checked, fault by fault."""
