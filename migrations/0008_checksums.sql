-- Checksums, by which reads find damage.

-- Which row names a file: recovery and the sweep ask it for every file. Blobs without a file have an empty path.
CREATE INDEX blob_by_path ON blob (path) WHERE path <> '';

-- The checksums of the blocks of a raw file; `docs/checksums.md` has the format. A row for each blob of codec raw with a file.
CREATE TABLE blob_checksum (
    digest TEXT NOT NULL PRIMARY KEY REFERENCES blob (digest),
    checksums BYTEA NOT NULL
);

-- The checksum of a record's image.
ALTER TABLE construct ADD COLUMN checksum BIGINT;
ALTER TABLE session ADD COLUMN checksum BIGINT;
ALTER TABLE checkpoint ADD COLUMN checksum BIGINT;
ALTER TABLE artifact ADD COLUMN checksum BIGINT;
ALTER TABLE link ADD COLUMN checksum BIGINT;
ALTER TABLE task ADD COLUMN checksum BIGINT;
ALTER TABLE plan ADD COLUMN checksum BIGINT;
ALTER TABLE initiative ADD COLUMN checksum BIGINT;
ALTER TABLE bug ADD COLUMN checksum BIGINT;
ALTER TABLE status_update ADD COLUMN checksum BIGINT;
ALTER TABLE design_note ADD COLUMN checksum BIGINT;
ALTER TABLE comment ADD COLUMN checksum BIGINT;
ALTER TABLE gate_decision ADD COLUMN checksum BIGINT;
ALTER TABLE branch ADD COLUMN checksum BIGINT;
ALTER TABLE constitution ADD COLUMN checksum BIGINT;
ALTER TABLE task_state ADD COLUMN checksum BIGINT;
ALTER TABLE phase_template ADD COLUMN checksum BIGINT;
ALTER TABLE workflow ADD COLUMN checksum BIGINT;
ALTER TABLE run ADD COLUMN checksum BIGINT;
ALTER TABLE phase_output ADD COLUMN checksum BIGINT;
ALTER TABLE execution_log ADD COLUMN checksum BIGINT;
ALTER TABLE intervention ADD COLUMN checksum BIGINT;
ALTER TABLE pattern ADD COLUMN checksum BIGINT;

-- Each entry's whole message beside its columns: a read sends it as it is. Filters and indexes use the columns.
ALTER TABLE transcript ADD COLUMN image BYTEA;
ALTER TABLE transcript ADD COLUMN checksum BIGINT;
ALTER TABLE event ADD COLUMN image BYTEA;
ALTER TABLE event ADD COLUMN checksum BIGINT;

-- The checksum of the image in the history, that of the change with its commit, of an answer, and of a blob's row.
ALTER TABLE changes ADD COLUMN image_checksum BIGINT;
ALTER TABLE changes ADD COLUMN checksum BIGINT;
ALTER TABLE request ADD COLUMN checksum BIGINT;
ALTER TABLE blob ADD COLUMN checksum BIGINT;

-- A new store has no rows to fill in, so the job `checksums` has nothing to do.
INSERT INTO meta (name, value)
    SELECT 'checksums', 'complete' WHERE NOT EXISTS (SELECT 1 FROM commits) AND NOT EXISTS (SELECT 1 FROM blob);
