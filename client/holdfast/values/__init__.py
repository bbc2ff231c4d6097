"""Values on their way to and from messages: fields, JSON, entries, filters, mutations. Nothing here calls the daemon."""
