-- Outputs have the task of their run, logs may be of runs that have no record, and lineages are followed both ways.

-- An output of a run that has a task gets this task. Its image is made of the columns until it is written again.
UPDATE phase_output SET
    task_id = (SELECT run.task_id FROM run WHERE run.workspace = phase_output.workspace AND run.id = phase_output.run_id),
    image = NULL,
    checksum = NULL
WHERE task_id IS NULL AND EXISTS (
    SELECT 1 FROM run
    WHERE run.workspace = phase_output.workspace AND run.id = phase_output.run_id AND run.task_id IS NOT NULL
);

-- By these the writer finds the task's own output that has a variable, and the versions that were made from one. The first is not
-- unique: an earlier store may have two outputs of a task with one variable.
CREATE INDEX phase_output_by_variable ON phase_output (workspace, task_id, variable, run_id);
CREATE INDEX workflow_by_parent ON workflow (workspace, workflow_id, parent_version);

-- `execution_log.run_id` loses its foreign key. SQLite can drop one only with the table.
CREATE TABLE any_log (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    run_id TEXT,
    workflow_id TEXT NOT NULL,
    workflow_version BIGINT NOT NULL,
    status TEXT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    summary TEXT NOT NULL,
    detail_digest TEXT REFERENCES blob (digest),
    detail_size_bytes BIGINT NOT NULL,
    metadata TEXT,
    detail_type TEXT NOT NULL,
    image BYTEA,
    checksum BIGINT,
    made BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace, id)
);
INSERT INTO any_log (
    workspace, id, version, create_time, update_time, run_id, workflow_id, workflow_version, status, start_time, end_time, summary,
    detail_digest, detail_size_bytes, metadata, detail_type, image, checksum, made
)
SELECT
    workspace, id, version, create_time, update_time, run_id, workflow_id, workflow_version, status, start_time, end_time, summary,
    detail_digest, detail_size_bytes, metadata, detail_type, image, checksum, made
FROM execution_log;

CREATE TABLE any_log_steps (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    detail TEXT,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES any_log (workspace, id)
);
INSERT INTO any_log_steps (workspace, id, ordinal, name, status, start_time, end_time, detail)
SELECT workspace, id, ordinal, name, status, start_time, end_time, detail FROM execution_log_steps;

DROP TABLE execution_log_steps;
DROP TABLE execution_log;
ALTER TABLE any_log RENAME TO execution_log;
ALTER TABLE any_log_steps RENAME TO execution_log_steps;

CREATE INDEX execution_log_by_create_time ON execution_log (workspace, create_time, made, id);
CREATE INDEX execution_log_by_run ON execution_log (workspace, run_id, create_time, made, id);
CREATE INDEX execution_log_by_status ON execution_log (workspace, status, create_time, made, id);
CREATE INDEX execution_log_by_workflow ON execution_log (workspace, workflow_id, create_time, made, id);
CREATE INDEX execution_log_by_workflow_version ON execution_log (workspace, workflow_id, workflow_version, create_time, made, id);
CREATE INDEX execution_log_by_start_time ON execution_log (workspace, workflow_id, start_time, made, id);
CREATE INDEX execution_log_by_detail ON execution_log (detail_digest);
