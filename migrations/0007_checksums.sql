-- Checksums, by which reads find damage.

-- Which row names a file: recovery and the sweep ask it for every file. Blobs without a file have an empty path.
CREATE INDEX blob_by_path ON blob (path) WHERE path <> '';
