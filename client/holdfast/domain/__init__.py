"""The methods that single kinds have beyond those of every collection, and views over several kinds."""
