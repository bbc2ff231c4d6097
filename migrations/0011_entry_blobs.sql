-- Contents of entries and of phase outputs that their columns cannot hold are in blobs.

-- Digest, size and media type of the blob. Most entries have none: they leave these columns at their defaults, and the indexes,
-- by which a blob that is deleted is checked to have no entry, have no row for them.
ALTER TABLE transcript ADD COLUMN content_digest TEXT REFERENCES blob (digest);
ALTER TABLE transcript ADD COLUMN content_size_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE transcript ADD COLUMN content_type TEXT NOT NULL DEFAULT '';
CREATE INDEX transcript_by_content ON transcript (content_digest) WHERE content_digest IS NOT NULL;

ALTER TABLE event ADD COLUMN data_digest TEXT REFERENCES blob (digest);
ALTER TABLE event ADD COLUMN data_size_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE event ADD COLUMN message_digest TEXT REFERENCES blob (digest);
ALTER TABLE event ADD COLUMN message_size_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE event ADD COLUMN message_type TEXT NOT NULL DEFAULT '';
CREATE INDEX event_by_data ON event (data_digest) WHERE data_digest IS NOT NULL;
CREATE INDEX event_by_message ON event (message_digest) WHERE message_digest IS NOT NULL;

ALTER TABLE phase_output ADD COLUMN content_digest TEXT REFERENCES blob (digest);
ALTER TABLE phase_output ADD COLUMN content_size_bytes BIGINT NOT NULL DEFAULT 0;
CREATE INDEX phase_output_by_content ON phase_output (content_digest) WHERE content_digest IS NOT NULL;
