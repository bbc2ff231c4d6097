-- Which process made each commit: its user and its number, as the kernel gave them when it connected. NULL in commits of
-- versions that did not keep them; the number is also NULL for a process of which the kernel gave no number.

ALTER TABLE commits ADD COLUMN peer_uid BIGINT;
ALTER TABLE commits ADD COLUMN peer_pid BIGINT;

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
    END AS action,
    changes.version AS version,
    changes.parent_kind AS parent_kind,
    changes.first_number AS first_number,
    changes.last_number AS last_number,
    commits.commit_time AS time,
    commits.request_id AS request_id,
    commits.peer_uid AS peer_uid,
    commits.peer_pid AS peer_pid,
    changes.image AS image
FROM changes JOIN commits ON commits.revision = changes.revision;
