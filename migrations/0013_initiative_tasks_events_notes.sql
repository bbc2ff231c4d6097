-- The tasks of an initiative, in order. A task may be in several initiatives.
CREATE TABLE initiative_task_ids (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES initiative (workspace, id),
    FOREIGN KEY (workspace, value) REFERENCES task (workspace, id)
);
CREATE INDEX initiative_task_ids_by_value ON initiative_task_ids (workspace, value, id);
-- By initiative, for filters of tasks such as `initiatives:"INIT-001"`.
CREATE INDEX initiative_task_ids_by_id ON initiative_task_ids (id, workspace, value);

-- Events of all parents in the order of commits.
CREATE INDEX event_by_revision ON event (revision, journal_id, number);
