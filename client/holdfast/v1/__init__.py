"""Generated from proto/holdfast/v1 by `make generate`. Do not edit."""
