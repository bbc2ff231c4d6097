-- The rest of what the work is made of: plans, notes, comments, gates, branches, engine states, outputs, logs.

CREATE TABLE plan (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    from_construct_id TEXT,
    to_construct_id TEXT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    status TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, from_construct_id) REFERENCES construct (workspace, id),
    FOREIGN KEY (workspace, to_construct_id) REFERENCES construct (workspace, id)
);
CREATE INDEX plan_by_create_time ON plan (workspace, create_time, id);
CREATE INDEX plan_by_from_construct ON plan (workspace, from_construct_id, create_time, id);
CREATE INDEX plan_by_to_construct ON plan (workspace, to_construct_id, create_time, id);
CREATE INDEX plan_by_status ON plan (workspace, status, create_time, id);

CREATE TABLE bug (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    title TEXT NOT NULL,
    severity TEXT NOT NULL,
    status TEXT NOT NULL,
    task_id TEXT,
    repro_steps TEXT,
    proposed_fix TEXT NOT NULL,
    actor TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, task_id) REFERENCES task (workspace, id)
);
CREATE INDEX bug_by_create_time ON bug (workspace, create_time, id);
CREATE INDEX bug_by_status ON bug (workspace, status, create_time, id);
CREATE INDEX bug_by_severity ON bug (workspace, severity, create_time, id);
CREATE INDEX bug_by_task ON bug (workspace, task_id, create_time, id);

CREATE TABLE status_update (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    task_id TEXT,
    message TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, task_id) REFERENCES task (workspace, id)
);
CREATE INDEX status_update_by_create_time ON status_update (workspace, create_time, id);
CREATE INDEX status_update_by_task ON status_update (workspace, task_id, create_time, id);

CREATE TABLE design_note (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    title TEXT NOT NULL,
    context TEXT NOT NULL,
    decision TEXT NOT NULL,
    consequences TEXT NOT NULL,
    actor TEXT NOT NULL,
    superseded_by TEXT,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, superseded_by) REFERENCES design_note (workspace, id)
);
CREATE INDEX design_note_by_create_time ON design_note (workspace, create_time, id);
CREATE INDEX design_note_by_superseded_by ON design_note (workspace, superseded_by, create_time, id);

CREATE TABLE comment (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    task_id TEXT,
    type TEXT NOT NULL,
    author TEXT NOT NULL,
    phase TEXT NOT NULL,
    body TEXT NOT NULL,
    file_path TEXT NOT NULL,
    line BIGINT NOT NULL,
    severity TEXT NOT NULL,
    status TEXT NOT NULL,
    resolution TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, task_id) REFERENCES task (workspace, id)
);
CREATE INDEX comment_by_create_time ON comment (workspace, create_time, id);
CREATE INDEX comment_by_task ON comment (workspace, task_id, create_time, id);
CREATE INDEX comment_by_task_type ON comment (workspace, task_id, type, create_time, id);
CREATE INDEX comment_by_type ON comment (workspace, type, create_time, id);
CREATE INDEX comment_by_status ON comment (workspace, status, create_time, id);

CREATE TABLE gate_decision (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    task_id TEXT,
    phase TEXT NOT NULL,
    gate_type TEXT NOT NULL,
    approved BIGINT NOT NULL CHECK (approved IN (0, 1)),
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    decide_time BIGINT,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, task_id) REFERENCES task (workspace, id)
);
CREATE INDEX gate_decision_by_create_time ON gate_decision (workspace, create_time, id);
CREATE INDEX gate_decision_by_task ON gate_decision (workspace, task_id, create_time, id);

CREATE TABLE branch (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    base_branch TEXT NOT NULL,
    status TEXT NOT NULL,
    activity_time BIGINT,
    metadata TEXT,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX branch_by_create_time ON branch (workspace, create_time, id);
CREATE INDEX branch_by_type ON branch (workspace, type, create_time, id);
CREATE INDEX branch_by_status ON branch (workspace, status, create_time, id, activity_time);

CREATE TABLE constitution (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    content TEXT NOT NULL,
    edition TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX constitution_by_create_time ON constitution (workspace, create_time, id);

CREATE TABLE task_state (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    task_id TEXT,
    status TEXT NOT NULL CHECK (
        status IN ('pending', 'running', 'completed', 'failed', 'paused', 'interrupted', 'skipped')
    ),
    current_phase TEXT NOT NULL,
    retries BIGINT NOT NULL,
    error TEXT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, task_id) REFERENCES task (workspace, id)
);
CREATE INDEX task_state_by_create_time ON task_state (workspace, create_time, id);
CREATE INDEX task_state_by_task ON task_state (workspace, task_id, create_time, id);
CREATE INDEX task_state_by_status ON task_state (workspace, status, create_time, id);

CREATE TABLE task_state_phases (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    phase TEXT NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN ('pending', 'running', 'completed', 'failed', 'paused', 'interrupted', 'skipped')
    ),
    iterations BIGINT NOT NULL,
    retries BIGINT NOT NULL,
    error TEXT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    metadata TEXT,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES task_state (workspace, id)
);

CREATE TABLE phase_template (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    prompt TEXT NOT NULL,
    agent TEXT NOT NULL,
    gate_type TEXT NOT NULL,
    max_iterations BIGINT NOT NULL,
    settings TEXT,
    metadata TEXT,
    PRIMARY KEY (workspace, id)
);
CREATE INDEX phase_template_by_create_time ON phase_template (workspace, create_time, id);

CREATE TABLE phase_output (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    run_id TEXT,
    task_id TEXT,
    phase TEXT NOT NULL,
    variable TEXT,
    content TEXT NOT NULL,
    content_type TEXT NOT NULL,
    iteration BIGINT NOT NULL,
    source TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (workspace, id),
    UNIQUE (workspace, run_id, phase),
    UNIQUE (workspace, run_id, variable),
    FOREIGN KEY (workspace, run_id) REFERENCES run (workspace, id),
    FOREIGN KEY (workspace, task_id) REFERENCES task (workspace, id)
);
CREATE INDEX phase_output_by_create_time ON phase_output (workspace, create_time, id);
CREATE INDEX phase_output_by_run ON phase_output (workspace, run_id, create_time, id);
CREATE INDEX phase_output_by_task ON phase_output (workspace, task_id, create_time, id);

CREATE TABLE execution_log (
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
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, run_id) REFERENCES run (workspace, id)
);
CREATE INDEX execution_log_by_create_time ON execution_log (workspace, create_time, id);
CREATE INDEX execution_log_by_run ON execution_log (workspace, run_id, create_time, id);
CREATE INDEX execution_log_by_status ON execution_log (workspace, status, create_time, id);
CREATE INDEX execution_log_by_workflow ON execution_log (workspace, workflow_id, create_time, id);
CREATE INDEX execution_log_by_workflow_version ON execution_log (workspace, workflow_id, workflow_version, create_time, id);
CREATE INDEX execution_log_by_start_time ON execution_log (workspace, workflow_id, start_time, id);
CREATE INDEX execution_log_by_detail ON execution_log (detail_digest);

CREATE TABLE execution_log_steps (
    workspace TEXT NOT NULL,
    id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    detail TEXT,
    PRIMARY KEY (workspace, id, ordinal),
    FOREIGN KEY (workspace, id) REFERENCES execution_log (workspace, id)
);
