-- What metrics read: who stepped in, and what recurs.

CREATE TABLE intervention (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    task_id TEXT,
    run_id TEXT,
    phase TEXT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, task_id) REFERENCES task (workspace, id),
    FOREIGN KEY (workspace, run_id) REFERENCES run (workspace, id)
);
CREATE INDEX intervention_by_create_time ON intervention (workspace, create_time, id);
CREATE INDEX intervention_by_task ON intervention (workspace, task_id, create_time, id);
CREATE INDEX intervention_by_run ON intervention (workspace, run_id, create_time, id);

CREATE TABLE pattern (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    workflow_id TEXT NOT NULL,
    workflow_version BIGINT NOT NULL,
    type TEXT NOT NULL,
    description TEXT NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    occurrences BIGINT NOT NULL,
    evidence TEXT,
    metadata TEXT,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX pattern_by_create_time ON pattern (workspace, create_time, id);
CREATE INDEX pattern_by_type ON pattern (workspace, type, create_time, id);
CREATE INDEX pattern_by_workflow_id ON pattern (workspace, workflow_id, workflow_version, create_time, id);
