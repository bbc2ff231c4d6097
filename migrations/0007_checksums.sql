-- Checksums, by which reads find damage.

-- Which row names a file: recovery and the sweep ask it for every file. Blobs without a file have an empty path.
CREATE INDEX blob_by_path ON blob (path) WHERE path <> '';

-- The checksums of the blocks of a raw file; `docs/checksums.md` has the format. A row for each blob of codec raw with a file.
CREATE TABLE blob_checksum (
    digest TEXT NOT NULL PRIMARY KEY REFERENCES blob (digest),
    checksums BYTEA NOT NULL
);
