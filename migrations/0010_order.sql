-- The order in which records were made.
--
-- `made` is the place of a record's insert in the history: revision * 2^20 + ordinal. Lists break ties of equal values by it, so
-- what one commit inserted is listed in the order of its mutations. 0: the history does not have the insert.
-- It comes before `id` in each index that lists use, so that a page needs no sorting, however many records have one time.

ALTER TABLE construct ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE construct SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = construct.workspace AND changes.kind = 'construct' AND changes.id = construct.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX construct_by_create_time;
CREATE INDEX construct_by_create_time ON construct (workspace, create_time, made, id);
DROP INDEX construct_by_status;
CREATE INDEX construct_by_status ON construct (workspace, status, create_time, made, id);
DROP INDEX construct_by_type;
CREATE INDEX construct_by_type ON construct (workspace, type, create_time, made, id);

ALTER TABLE session ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE session SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = session.workspace AND changes.kind = 'session' AND changes.id = session.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX session_by_create_time;
CREATE INDEX session_by_create_time ON session (workspace, create_time, made, id);
DROP INDEX session_by_status;
CREATE INDEX session_by_status ON session (workspace, status, create_time, made, id);
DROP INDEX session_by_construct;
CREATE INDEX session_by_construct ON session (workspace, construct_id, create_time, made, id);

ALTER TABLE checkpoint ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE checkpoint SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = checkpoint.workspace AND changes.kind = 'checkpoint' AND changes.id = checkpoint.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX checkpoint_by_create_time;
CREATE INDEX checkpoint_by_create_time ON checkpoint (workspace, create_time, made, id);
DROP INDEX checkpoint_by_session;
CREATE INDEX checkpoint_by_session ON checkpoint (workspace, session_id, number, made, id);
DROP INDEX checkpoint_by_session_time;
CREATE INDEX checkpoint_by_session_time ON checkpoint (workspace, session_id, create_time, made, id);

ALTER TABLE artifact ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE artifact SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = artifact.workspace AND changes.kind = 'artifact' AND changes.id = artifact.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX artifact_by_create_time;
CREATE INDEX artifact_by_create_time ON artifact (workspace, create_time, made, id);
DROP INDEX artifact_by_type;
CREATE INDEX artifact_by_type ON artifact (workspace, type, create_time, made, id);
DROP INDEX artifact_by_construct;
CREATE INDEX artifact_by_construct ON artifact (workspace, construct_id, create_time, made, id);
DROP INDEX artifact_by_session;
CREATE INDEX artifact_by_session ON artifact (workspace, session_id, create_time, made, id);
DROP INDEX artifact_by_task;
CREATE INDEX artifact_by_task ON artifact (workspace, task_id, create_time, made, id);
DROP INDEX artifact_by_run;
CREATE INDEX artifact_by_run ON artifact (workspace, run_id, create_time, made, id);

ALTER TABLE link ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE link SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = link.workspace AND changes.kind = 'link' AND changes.id = link.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX link_by_create_time;
CREATE INDEX link_by_create_time ON link (workspace, create_time, made, id);
DROP INDEX link_by_from;
CREATE INDEX link_by_from ON link (workspace, from_kind, from_id, create_time, made, id);
DROP INDEX link_by_to;
CREATE INDEX link_by_to ON link (workspace, to_kind, to_id, create_time, made, id);

ALTER TABLE task ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE task SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = task.workspace AND changes.kind = 'task' AND changes.id = task.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX task_by_initiative;
CREATE INDEX task_by_initiative ON task (workspace, initiative_id, create_time, made, id);
DROP INDEX task_by_create_time;
CREATE INDEX task_by_create_time ON task (workspace, create_time, made, id);
DROP INDEX task_by_status;
CREATE INDEX task_by_status ON task (workspace, status, create_time, made, id);
DROP INDEX task_by_construct;
CREATE INDEX task_by_construct ON task (workspace, construct_id, create_time, made, id);

ALTER TABLE plan ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE plan SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = plan.workspace AND changes.kind = 'plan' AND changes.id = plan.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX plan_by_create_time;
CREATE INDEX plan_by_create_time ON plan (workspace, create_time, made, id);
DROP INDEX plan_by_from_construct;
CREATE INDEX plan_by_from_construct ON plan (workspace, from_construct_id, create_time, made, id);
DROP INDEX plan_by_to_construct;
CREATE INDEX plan_by_to_construct ON plan (workspace, to_construct_id, create_time, made, id);
DROP INDEX plan_by_status;
CREATE INDEX plan_by_status ON plan (workspace, status, create_time, made, id);

ALTER TABLE initiative ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE initiative SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = initiative.workspace AND changes.kind = 'initiative' AND changes.id = initiative.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX initiative_by_create_time;
CREATE INDEX initiative_by_create_time ON initiative (workspace, create_time, made, id);
DROP INDEX initiative_by_status;
CREATE INDEX initiative_by_status ON initiative (workspace, status, create_time, made, id);

ALTER TABLE bug ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE bug SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = bug.workspace AND changes.kind = 'bug' AND changes.id = bug.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX bug_by_create_time;
CREATE INDEX bug_by_create_time ON bug (workspace, create_time, made, id);
DROP INDEX bug_by_status;
CREATE INDEX bug_by_status ON bug (workspace, status, create_time, made, id);
DROP INDEX bug_by_severity;
CREATE INDEX bug_by_severity ON bug (workspace, severity, create_time, made, id);
DROP INDEX bug_by_task;
CREATE INDEX bug_by_task ON bug (workspace, task_id, create_time, made, id);

ALTER TABLE status_update ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE status_update SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = status_update.workspace AND changes.kind = 'status_update' AND changes.id = status_update.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX status_update_by_create_time;
CREATE INDEX status_update_by_create_time ON status_update (workspace, create_time, made, id);
DROP INDEX status_update_by_task;
CREATE INDEX status_update_by_task ON status_update (workspace, task_id, create_time, made, id);

ALTER TABLE design_note ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE design_note SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = design_note.workspace AND changes.kind = 'design_note' AND changes.id = design_note.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX design_note_by_create_time;
CREATE INDEX design_note_by_create_time ON design_note (workspace, create_time, made, id);
DROP INDEX design_note_by_superseded_by;
CREATE INDEX design_note_by_superseded_by ON design_note (workspace, superseded_by, create_time, made, id);

ALTER TABLE comment ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE comment SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = comment.workspace AND changes.kind = 'comment' AND changes.id = comment.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX comment_by_create_time;
CREATE INDEX comment_by_create_time ON comment (workspace, create_time, made, id);
DROP INDEX comment_by_task;
CREATE INDEX comment_by_task ON comment (workspace, task_id, create_time, made, id);
DROP INDEX comment_by_task_type;
CREATE INDEX comment_by_task_type ON comment (workspace, task_id, type, create_time, made, id);
DROP INDEX comment_by_type;
CREATE INDEX comment_by_type ON comment (workspace, type, create_time, made, id);
DROP INDEX comment_by_status;
CREATE INDEX comment_by_status ON comment (workspace, status, create_time, made, id);

ALTER TABLE gate_decision ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE gate_decision SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = gate_decision.workspace AND changes.kind = 'gate_decision' AND changes.id = gate_decision.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX gate_decision_by_create_time;
CREATE INDEX gate_decision_by_create_time ON gate_decision (workspace, create_time, made, id);
DROP INDEX gate_decision_by_task;
CREATE INDEX gate_decision_by_task ON gate_decision (workspace, task_id, create_time, made, id);

ALTER TABLE branch ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE branch SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = branch.workspace AND changes.kind = 'branch' AND changes.id = branch.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX branch_by_create_time;
CREATE INDEX branch_by_create_time ON branch (workspace, create_time, made, id);
DROP INDEX branch_by_type;
CREATE INDEX branch_by_type ON branch (workspace, type, create_time, made, id);
DROP INDEX branch_by_status;
CREATE INDEX branch_by_status ON branch (workspace, status, create_time, made, id, activity_time);

ALTER TABLE constitution ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE constitution SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = constitution.workspace AND changes.kind = 'constitution' AND changes.id = constitution.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX constitution_by_create_time;
CREATE INDEX constitution_by_create_time ON constitution (workspace, create_time, made, id);

ALTER TABLE task_state ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE task_state SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = task_state.workspace AND changes.kind = 'task_state' AND changes.id = task_state.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX task_state_by_create_time;
CREATE INDEX task_state_by_create_time ON task_state (workspace, create_time, made, id);
DROP INDEX task_state_by_task;
CREATE INDEX task_state_by_task ON task_state (workspace, task_id, create_time, made, id);
DROP INDEX task_state_by_status;
CREATE INDEX task_state_by_status ON task_state (workspace, status, create_time, made, id);

ALTER TABLE phase_template ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE phase_template SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = phase_template.workspace AND changes.kind = 'phase_template' AND changes.id = phase_template.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX phase_template_by_create_time;
CREATE INDEX phase_template_by_create_time ON phase_template (workspace, create_time, made, id);

ALTER TABLE workflow ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE workflow SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = workflow.workspace AND changes.kind = 'workflow' AND changes.id = workflow.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX workflow_by_create_time;
CREATE INDEX workflow_by_create_time ON workflow (workspace, create_time, made, id);
DROP INDEX workflow_by_workflow_id;
CREATE INDEX workflow_by_workflow_id ON workflow (workspace, workflow_id, workflow_version, made, id);

ALTER TABLE run ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE run SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = run.workspace AND changes.kind = 'run' AND changes.id = run.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX run_by_create_time;
CREATE INDEX run_by_create_time ON run (workspace, create_time, made, id);
DROP INDEX run_by_workflow;
CREATE INDEX run_by_workflow ON run (workspace, workflow, create_time, made, id);
DROP INDEX run_by_task;
CREATE INDEX run_by_task ON run (workspace, task_id, create_time, made, id);
DROP INDEX run_by_status;
CREATE INDEX run_by_status ON run (workspace, status, create_time, made, id);

ALTER TABLE phase_output ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE phase_output SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = phase_output.workspace AND changes.kind = 'phase_output' AND changes.id = phase_output.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX phase_output_by_create_time;
CREATE INDEX phase_output_by_create_time ON phase_output (workspace, create_time, made, id);
DROP INDEX phase_output_by_run;
CREATE INDEX phase_output_by_run ON phase_output (workspace, run_id, create_time, made, id);
DROP INDEX phase_output_by_task;
CREATE INDEX phase_output_by_task ON phase_output (workspace, task_id, create_time, made, id);

ALTER TABLE execution_log ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE execution_log SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = execution_log.workspace AND changes.kind = 'execution_log' AND changes.id = execution_log.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX execution_log_by_create_time;
CREATE INDEX execution_log_by_create_time ON execution_log (workspace, create_time, made, id);
DROP INDEX execution_log_by_run;
CREATE INDEX execution_log_by_run ON execution_log (workspace, run_id, create_time, made, id);
DROP INDEX execution_log_by_status;
CREATE INDEX execution_log_by_status ON execution_log (workspace, status, create_time, made, id);
DROP INDEX execution_log_by_workflow;
CREATE INDEX execution_log_by_workflow ON execution_log (workspace, workflow_id, create_time, made, id);
DROP INDEX execution_log_by_workflow_version;
CREATE INDEX execution_log_by_workflow_version ON execution_log (workspace, workflow_id, workflow_version, create_time, made, id);
DROP INDEX execution_log_by_start_time;
CREATE INDEX execution_log_by_start_time ON execution_log (workspace, workflow_id, start_time, made, id);

ALTER TABLE intervention ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE intervention SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = intervention.workspace AND changes.kind = 'intervention' AND changes.id = intervention.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX intervention_by_create_time;
CREATE INDEX intervention_by_create_time ON intervention (workspace, create_time, made, id);
DROP INDEX intervention_by_task;
CREATE INDEX intervention_by_task ON intervention (workspace, task_id, create_time, made, id);
DROP INDEX intervention_by_run;
CREATE INDEX intervention_by_run ON intervention (workspace, run_id, create_time, made, id);

ALTER TABLE pattern ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE pattern SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = pattern.workspace AND changes.kind = 'pattern' AND changes.id = pattern.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX pattern_by_create_time;
CREATE INDEX pattern_by_create_time ON pattern (workspace, create_time, made, id);
DROP INDEX pattern_by_type;
CREATE INDEX pattern_by_type ON pattern (workspace, type, create_time, made, id);
DROP INDEX pattern_by_workflow_id;
CREATE INDEX pattern_by_workflow_id ON pattern (workspace, workflow_id, workflow_version, create_time, made, id);

ALTER TABLE vocabulary ADD COLUMN made BIGINT NOT NULL DEFAULT 0;
UPDATE vocabulary SET made = COALESCE((
    SELECT changes.revision * 1048576 + changes.ordinal FROM changes
    WHERE changes.workspace = vocabulary.workspace AND changes.kind = 'vocabulary' AND changes.id = vocabulary.id AND changes.action = 1
    ORDER BY revision DESC, ordinal DESC LIMIT 1
), 0);
DROP INDEX vocabulary_by_create_time;
CREATE INDEX vocabulary_by_create_time ON vocabulary (workspace, create_time, made, id);

-- A fix that was not proposed differs from an empty one, and a gate that was not decided from one that was refused.
-- A column can lose its NOT NULL only as a new column: SQLite cannot change one.

ALTER TABLE bug ADD COLUMN fix TEXT;
UPDATE bug SET fix = proposed_fix WHERE proposed_fix <> '';
ALTER TABLE bug DROP COLUMN proposed_fix;
ALTER TABLE bug RENAME COLUMN fix TO proposed_fix;

-- Until now, `approved` was false for both, so what is stored stays a refusal. The image of such a record does not have the field,
-- which would now mean "not decided". Without an image, the columns are read until the record is written again.
ALTER TABLE gate_decision ADD COLUMN decided BIGINT CHECK (decided IN (0, 1));
UPDATE gate_decision SET decided = approved;
ALTER TABLE gate_decision DROP COLUMN approved;
ALTER TABLE gate_decision RENAME COLUMN decided TO approved;
UPDATE gate_decision SET image = NULL, checksum = NULL WHERE approved = 0;
