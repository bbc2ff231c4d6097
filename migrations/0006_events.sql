-- The journal of events: what happened to a task, in a run or in a session.

CREATE TABLE event (
    journal_id BIGINT NOT NULL REFERENCES journal (journal_id),
    number BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    task_id TEXT NOT NULL,
    phase TEXT NOT NULL,
    iteration BIGINT NOT NULL,
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT,
    duration_ms BIGINT,
    time BIGINT,
    PRIMARY KEY (journal_id, number)
);
CREATE INDEX event_by_task ON event (task_id, journal_id, number);
CREATE INDEX event_by_task_type ON event (task_id, type, journal_id, number);
CREATE INDEX event_by_type ON event (type, journal_id, number);
