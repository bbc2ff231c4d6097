-- The store's own bookkeeping and the first kinds.
--
-- Portable: SQLite and PostgreSQL take this file as it stands. Times are BIGINT nanoseconds since 1970 UTC.
-- A kind's table bears the kind's name and its columns the names of the proto fields; a repeated field is a table
-- {kind}_{field}. NULL stands for an unset reference, digest, time, JSON or optional field, and for nothing else.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE workspace (
    name TEXT NOT NULL PRIMARY KEY,
    create_time BIGINT NOT NULL
);

-- One row a commit; revisions are 1, 2, 3 … without gaps.
CREATE TABLE commits (
    revision BIGINT NOT NULL PRIMARY KEY,
    commit_time BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT NOT NULL
);

-- What a commit touched. Of a record: its image, the message's bytes after the change (before it, for a delete).
-- Of a journal: one row an append, with the numbers of the entries.
CREATE TABLE changes (
    revision BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    action BIGINT NOT NULL,
    version BIGINT NOT NULL,
    parent_kind TEXT NOT NULL,
    first_number BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    image BYTEA,
    PRIMARY KEY (revision, ordinal)
);
CREATE INDEX changes_by_record ON changes (workspace, kind, id, revision, ordinal);

-- Answers to requests that carried an id, kept so that a retry applies once.
CREATE TABLE request (
    workspace TEXT NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    fingerprint BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    PRIMARY KEY (workspace, actor, request_id)
);
CREATE INDEX request_by_create_time ON request (create_time);

-- The last number handed out, by workspace and purpose.
CREATE TABLE counter (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (workspace, name)
);

-- Blobs belong to the store, not to a workspace. A row holds what is needed to find and verify the bytes.
CREATE TABLE blob (
    digest TEXT NOT NULL PRIMARY KEY,
    size_bytes BIGINT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    stored_digest TEXT NOT NULL,
    codec TEXT NOT NULL,
    key_id TEXT NOT NULL,
    path TEXT NOT NULL,
    base_digest TEXT REFERENCES blob (digest),
    depth BIGINT NOT NULL,
    step BIGINT NOT NULL,
    lease_expire_time BIGINT NOT NULL,
    create_time BIGINT NOT NULL
);
CREATE INDEX blob_by_base ON blob (base_digest);

-- The stored bytes of blobs that are small enough to have no file.
CREATE TABLE blob_inline (
    digest TEXT NOT NULL PRIMARY KEY REFERENCES blob (digest),
    content BYTEA NOT NULL
);

-- Which field of which record keeps a blob alive.
CREATE TABLE blob_reference (
    digest TEXT NOT NULL REFERENCES blob (digest),
    workspace TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    field TEXT NOT NULL,
    PRIMARY KEY (digest, workspace, kind, id, field)
);
CREATE INDEX blob_reference_by_record ON blob_reference (workspace, kind, id);

-- Blobs that the sweep has to look at, and not before when.
CREATE TABLE blob_candidate (
    digest TEXT NOT NULL PRIMARY KEY,
    due_time BIGINT NOT NULL
);
CREATE INDEX blob_candidate_by_time ON blob_candidate (due_time);

-- Files whose row is gone; only these are ever unlinked.
CREATE TABLE blob_trash (
    path TEXT NOT NULL PRIMARY KEY,
    stored_bytes BIGINT NOT NULL
);

-- Which journals there are. The last number is the highest in the journal's table, or first_number - 1.
CREATE TABLE journal (
    journal_id BIGINT NOT NULL PRIMARY KEY,
    workspace TEXT NOT NULL,
    journal TEXT NOT NULL,
    parent_kind TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    first_number BIGINT NOT NULL,
    UNIQUE (workspace, journal, parent_kind, parent_id)
);
-- Unique, as journal_id is anyway, so that the planner takes entries in its order as sorted.
CREATE UNIQUE INDEX journal_in_order ON journal (workspace, journal, journal_id);

CREATE TABLE transcript (
    journal_id BIGINT NOT NULL REFERENCES journal (journal_id),
    number BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    task_id TEXT NOT NULL,
    phase TEXT NOT NULL,
    iteration BIGINT NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT,
    time BIGINT,
    PRIMARY KEY (journal_id, number)
);
CREATE INDEX transcript_by_task ON transcript (task_id, journal_id, number);

CREATE TABLE construct (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    description TEXT NOT NULL,
    root_path TEXT NOT NULL,
    branch TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX construct_by_create_time ON construct (workspace, create_time, id);
CREATE INDEX construct_by_status ON construct (workspace, status, create_time, id);
CREATE INDEX construct_by_type ON construct (workspace, type, create_time, id);

CREATE TABLE session (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    construct_id TEXT,
    title TEXT NOT NULL,
    status TEXT NOT NULL,
    state TEXT,
    agent TEXT NOT NULL,
    metadata TEXT,
    start_time BIGINT,
    end_time BIGINT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, construct_id) REFERENCES construct (workspace, id)
);
CREATE INDEX session_by_create_time ON session (workspace, create_time, id);
CREATE INDEX session_by_status ON session (workspace, status, create_time, id);
CREATE INDEX session_by_construct ON session (workspace, construct_id, create_time, id);

CREATE TABLE session_tags (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES session (workspace, id)
);
CREATE INDEX session_tags_by_value ON session_tags (workspace, value, id);

CREATE TABLE initiative (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    title TEXT NOT NULL,
    vision TEXT NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN ('draft', 'active', 'completed', 'archived')
    ),
    owner TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX initiative_by_create_time ON initiative (workspace, create_time, id);
CREATE INDEX initiative_by_status ON initiative (workspace, status, create_time, id);

CREATE TABLE initiative_decisions (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    decision TEXT NOT NULL,
    rationale TEXT NOT NULL,
    actor TEXT NOT NULL,
    time BIGINT,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES initiative (workspace, id)
);

CREATE TABLE initiative_blocked_by (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES initiative (workspace, id),
    FOREIGN KEY (workspace, value) REFERENCES initiative (workspace, id)
);
CREATE INDEX initiative_blocked_by_by_value ON initiative_blocked_by (workspace, value, id);
-- Covers the way from a record to what it waits for; without it SQLite takes the one above, which is entered by workspace only.
CREATE UNIQUE INDEX initiative_blocked_by_by_id ON initiative_blocked_by (workspace, id, value);

CREATE TABLE task (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN (
            'created', 'classifying', 'planned', 'running', 'paused',
            'blocked', 'finalizing', 'completed', 'finished', 'failed'
        )
    ),
    priority TEXT NOT NULL,
    rationale_log TEXT,
    metadata TEXT,
    construct_id TEXT,
    initiative_id TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, construct_id) REFERENCES construct (workspace, id),
    FOREIGN KEY (workspace, initiative_id) REFERENCES initiative (workspace, id)
);
CREATE INDEX task_by_initiative ON task (workspace, initiative_id, create_time, id);
CREATE INDEX task_by_create_time ON task (workspace, create_time, id);
CREATE INDEX task_by_status ON task (workspace, status, create_time, id);
CREATE INDEX task_by_construct ON task (workspace, construct_id, create_time, id);

CREATE TABLE task_assignees (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES task (workspace, id)
);
CREATE INDEX task_assignees_by_value ON task_assignees (workspace, value, id);

CREATE TABLE task_blocked_by (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES task (workspace, id),
    FOREIGN KEY (workspace, value) REFERENCES task (workspace, id)
);
CREATE INDEX task_blocked_by_by_value ON task_blocked_by (workspace, value, id);
-- Covers the way from a record to what it waits for; without it SQLite takes the one above, which is entered by workspace only.
CREATE UNIQUE INDEX task_blocked_by_by_id ON task_blocked_by (workspace, id, value);

CREATE TABLE task_tags (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES task (workspace, id)
);
CREATE INDEX task_tags_by_value ON task_tags (workspace, value, id);

CREATE TABLE checkpoint (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    session_id TEXT,
    parent_id TEXT,
    number BIGINT NOT NULL,
    name TEXT NOT NULL,
    summary TEXT NOT NULL,
    context_digest TEXT REFERENCES blob (digest),
    context_size_bytes BIGINT NOT NULL,
    context_type TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, session_id) REFERENCES session (workspace, id),
    FOREIGN KEY (workspace, parent_id) REFERENCES checkpoint (workspace, id)
);
CREATE INDEX checkpoint_by_create_time ON checkpoint (workspace, create_time, id);
CREATE INDEX checkpoint_by_session ON checkpoint (workspace, session_id, number, id);
CREATE INDEX checkpoint_by_session_time ON checkpoint (workspace, session_id, create_time, id);
CREATE INDEX checkpoint_by_parent ON checkpoint (workspace, parent_id);
CREATE INDEX checkpoint_by_context ON checkpoint (context_digest);

CREATE TABLE checkpoint_tags (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES checkpoint (workspace, id)
);
CREATE INDEX checkpoint_tags_by_value ON checkpoint_tags (workspace, value, id);

CREATE TABLE workflow (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    workflow_id TEXT NOT NULL,
    workflow_version BIGINT NOT NULL,
    parent_version BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    definition TEXT,
    metadata TEXT,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX workflow_by_create_time ON workflow (workspace, create_time, id);
CREATE INDEX workflow_by_workflow_id ON workflow (workspace, workflow_id, workflow_version, id);

CREATE TABLE workflow_phases (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    name TEXT NOT NULL,
    template_id TEXT NOT NULL,
    gate_type TEXT NOT NULL,
    max_iterations BIGINT NOT NULL,
    settings TEXT,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES workflow (workspace, id)
);

CREATE TABLE workflow_variables (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    type TEXT NOT NULL,
    required BIGINT NOT NULL CHECK (required IN (0, 1)),
    default_value TEXT,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES workflow (workspace, id)
);

CREATE TABLE run (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    workflow TEXT,
    task_id TEXT,
    status TEXT NOT NULL,
    current_phase TEXT NOT NULL,
    inputs TEXT,
    outputs TEXT,
    error TEXT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, workflow) REFERENCES workflow (workspace, id),
    FOREIGN KEY (workspace, task_id) REFERENCES task (workspace, id)
);
CREATE INDEX run_by_create_time ON run (workspace, create_time, id);
CREATE INDEX run_by_workflow ON run (workspace, workflow, create_time, id);
CREATE INDEX run_by_task ON run (workspace, task_id, create_time, id);
CREATE INDEX run_by_status ON run (workspace, status, create_time, id);

CREATE TABLE artifact (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    construct_id TEXT,
    session_id TEXT,
    task_id TEXT,
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    content_digest TEXT REFERENCES blob (digest),
    content_size_bytes BIGINT NOT NULL,
    description TEXT NOT NULL,
    metadata TEXT,
    run_id TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, construct_id) REFERENCES construct (workspace, id),
    FOREIGN KEY (workspace, session_id) REFERENCES session (workspace, id),
    FOREIGN KEY (workspace, task_id) REFERENCES task (workspace, id),
    FOREIGN KEY (workspace, run_id) REFERENCES run (workspace, id)
);
CREATE INDEX artifact_by_create_time ON artifact (workspace, create_time, id);
CREATE INDEX artifact_by_type ON artifact (workspace, type, create_time, id);
CREATE INDEX artifact_by_construct ON artifact (workspace, construct_id, create_time, id);
CREATE INDEX artifact_by_session ON artifact (workspace, session_id, create_time, id);
CREATE INDEX artifact_by_task ON artifact (workspace, task_id, create_time, id);
CREATE INDEX artifact_by_run ON artifact (workspace, run_id, create_time, id);
CREATE INDEX artifact_by_content ON artifact (content_digest);

CREATE TABLE link (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    type TEXT NOT NULL,
    from_kind TEXT NOT NULL,
    from_id TEXT,
    to_kind TEXT NOT NULL,
    to_id TEXT,
    metadata TEXT,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX link_by_create_time ON link (workspace, create_time, id);
CREATE INDEX link_by_from ON link (workspace, from_kind, from_id, create_time, id);
CREATE INDEX link_by_to ON link (workspace, to_kind, to_id, create_time, id);
