"""What the people of each domain expect of their kinds, on top of the collection that every kind has."""
