# sqlcipher3 has no types of its own; it is the standard library's sqlite3 with another SQLite below.
from sqlite3.dbapi2 import *
