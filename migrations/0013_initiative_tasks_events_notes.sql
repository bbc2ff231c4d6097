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

-- Actions that callers add to the audit of a record. Such a change (action 6) has no parent; its parent_kind is the name of the
-- action. Its image is the encoded message Note.
DROP VIEW audit;
CREATE VIEW audit AS
SELECT
    changes.workspace AS workspace,
    changes.revision AS revision,
    changes.ordinal AS ordinal,
    changes.ordinal + 1 AS number,
    commits.commit_time AS create_time,
    commits.actor AS actor,
    changes.kind AS kind,
    changes.id AS id,
    CASE changes.action
        WHEN 1 THEN 'insert'
        WHEN 2 THEN 'update'
        WHEN 3 THEN 'delete'
        WHEN 4 THEN 'append'
        WHEN 5 THEN 'drop'
        WHEN 6 THEN changes.parent_kind
    END AS action,
    changes.version AS version,
    CASE changes.action WHEN 6 THEN '' ELSE changes.parent_kind END AS parent_kind,
    changes.first_number AS first_number,
    changes.last_number AS last_number,
    commits.commit_time AS time,
    commits.request_id AS request_id,
    commits.peer_uid AS peer_uid,
    commits.peer_pid AS peer_pid,
    changes.image AS image
FROM changes JOIN commits ON commits.revision = changes.revision;
