-- The number of the newest revision, in one row that every writer locks: numbers from a sequence may
-- commit out of order, and a follower would then miss one. The epoch is set when the store is first opened.
CREATE TABLE counter (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    number BIGINT NOT NULL,
    epoch  BIGINT NOT NULL
);
INSERT INTO counter (id, number, epoch) VALUES (1, 0, 0);

CREATE TABLE revision (
    number  BIGINT PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    message TEXT   NOT NULL
);

-- One row a resource that a revision changed.
CREATE TABLE change (
    revision   BIGINT NOT NULL REFERENCES revision (number),
    seq        BIGINT NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    tenant     TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    managed_by TEXT   NOT NULL,
    op         TEXT   NOT NULL CHECK (op IN ('create', 'update', 'delete')),
    before     TEXT,
    after      TEXT,
    PRIMARY KEY (revision, seq)
);

-- The history of one resource; of one tenant; of one kind. A revision changes a resource once.
CREATE UNIQUE INDEX change_by_resource ON change (kind, tenant, name, revision);
CREATE INDEX change_by_tenant ON change (tenant, revision);
CREATE INDEX change_by_kind ON change (kind, revision);
