-- Each record's whole message beside its columns, as its newest change keeps it: a read takes it as it is.
--
-- The columns and child tables stay what filters, orders, references and cycle checks go by. A later migration that changes
-- columns by SQL sets the images of those rows to NULL; what has none is read from its columns until it is written again.

ALTER TABLE construct ADD COLUMN image BYTEA;
UPDATE construct SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = construct.workspace AND changes.kind = 'construct' AND changes.id = construct.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE session ADD COLUMN image BYTEA;
UPDATE session SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = session.workspace AND changes.kind = 'session' AND changes.id = session.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE checkpoint ADD COLUMN image BYTEA;
UPDATE checkpoint SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = checkpoint.workspace AND changes.kind = 'checkpoint' AND changes.id = checkpoint.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE artifact ADD COLUMN image BYTEA;
UPDATE artifact SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = artifact.workspace AND changes.kind = 'artifact' AND changes.id = artifact.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE link ADD COLUMN image BYTEA;
UPDATE link SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = link.workspace AND changes.kind = 'link' AND changes.id = link.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE task ADD COLUMN image BYTEA;
UPDATE task SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = task.workspace AND changes.kind = 'task' AND changes.id = task.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE plan ADD COLUMN image BYTEA;
UPDATE plan SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = plan.workspace AND changes.kind = 'plan' AND changes.id = plan.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE initiative ADD COLUMN image BYTEA;
UPDATE initiative SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = initiative.workspace AND changes.kind = 'initiative' AND changes.id = initiative.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE bug ADD COLUMN image BYTEA;
UPDATE bug SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = bug.workspace AND changes.kind = 'bug' AND changes.id = bug.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE status_update ADD COLUMN image BYTEA;
UPDATE status_update SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = status_update.workspace AND changes.kind = 'status_update' AND changes.id = status_update.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE design_note ADD COLUMN image BYTEA;
UPDATE design_note SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = design_note.workspace AND changes.kind = 'design_note' AND changes.id = design_note.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE comment ADD COLUMN image BYTEA;
UPDATE comment SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = comment.workspace AND changes.kind = 'comment' AND changes.id = comment.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE gate_decision ADD COLUMN image BYTEA;
UPDATE gate_decision SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = gate_decision.workspace AND changes.kind = 'gate_decision' AND changes.id = gate_decision.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE branch ADD COLUMN image BYTEA;
UPDATE branch SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = branch.workspace AND changes.kind = 'branch' AND changes.id = branch.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE constitution ADD COLUMN image BYTEA;
UPDATE constitution SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = constitution.workspace AND changes.kind = 'constitution' AND changes.id = constitution.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE task_state ADD COLUMN image BYTEA;
UPDATE task_state SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = task_state.workspace AND changes.kind = 'task_state' AND changes.id = task_state.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE phase_template ADD COLUMN image BYTEA;
UPDATE phase_template SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = phase_template.workspace AND changes.kind = 'phase_template' AND changes.id = phase_template.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE workflow ADD COLUMN image BYTEA;
UPDATE workflow SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = workflow.workspace AND changes.kind = 'workflow' AND changes.id = workflow.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE run ADD COLUMN image BYTEA;
UPDATE run SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = run.workspace AND changes.kind = 'run' AND changes.id = run.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE phase_output ADD COLUMN image BYTEA;
UPDATE phase_output SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = phase_output.workspace AND changes.kind = 'phase_output' AND changes.id = phase_output.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE execution_log ADD COLUMN image BYTEA;
UPDATE execution_log SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = execution_log.workspace AND changes.kind = 'execution_log' AND changes.id = execution_log.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE intervention ADD COLUMN image BYTEA;
UPDATE intervention SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = intervention.workspace AND changes.kind = 'intervention' AND changes.id = intervention.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);

ALTER TABLE pattern ADD COLUMN image BYTEA;
UPDATE pattern SET image = (
    SELECT changes.image FROM changes
    WHERE changes.workspace = pattern.workspace AND changes.kind = 'pattern' AND changes.id = pattern.id
    ORDER BY revision DESC, ordinal DESC LIMIT 1
);
