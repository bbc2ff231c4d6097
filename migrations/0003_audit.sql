-- The audit: what every commit did, as entries that can be filtered. Actions are those of `changes.action`.

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
    changes.image AS image
FROM changes JOIN commits ON commits.revision = changes.revision;
