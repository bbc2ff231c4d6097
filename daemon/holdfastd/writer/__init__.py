"""The single writer: a bounded queue, batches, one connection."""
