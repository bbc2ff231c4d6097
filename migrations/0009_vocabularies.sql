-- The vocabularies of workspaces. They replace the fixed values of three statuses, so those columns lose their CHECK. A column's
-- constraint can be dropped only with the column, on SQLite.

CREATE TABLE vocabulary (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    record_kind TEXT NOT NULL CHECK (record_kind IN ('task', 'initiative', 'task_state')),
    field TEXT NOT NULL CHECK (field IN ('status')),
    description TEXT NOT NULL,
    metadata TEXT,
    image BYTEA,
    checksum BIGINT,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX vocabulary_by_create_time ON vocabulary (workspace, create_time, id);

CREATE TABLE vocabulary_terms (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    value TEXT NOT NULL,
    meaning TEXT NOT NULL CHECK (meaning IN ('open', 'active', 'done', 'failed')),
    description TEXT NOT NULL,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES vocabulary (workspace, id)
);

DROP INDEX task_by_status;
ALTER TABLE task ADD COLUMN any_status TEXT NOT NULL DEFAULT '';
UPDATE task SET any_status = status;
ALTER TABLE task DROP COLUMN status;
ALTER TABLE task RENAME COLUMN any_status TO status;
CREATE INDEX task_by_status ON task (workspace, status, create_time, id);

DROP INDEX initiative_by_status;
ALTER TABLE initiative ADD COLUMN any_status TEXT NOT NULL DEFAULT '';
UPDATE initiative SET any_status = status;
ALTER TABLE initiative DROP COLUMN status;
ALTER TABLE initiative RENAME COLUMN any_status TO status;
CREATE INDEX initiative_by_status ON initiative (workspace, status, create_time, id);

DROP INDEX task_state_by_status;
ALTER TABLE task_state ADD COLUMN any_status TEXT NOT NULL DEFAULT '';
UPDATE task_state SET any_status = status;
ALTER TABLE task_state DROP COLUMN status;
ALTER TABLE task_state RENAME COLUMN any_status TO status;
CREATE INDEX task_state_by_status ON task_state (workspace, status, create_time, id);
