-- What was purged from the nodes' caches, numbered in the order of the commits: a node that was away is told
-- what it missed. The number stands in one row that every writer locks, as that of the revisions does.
CREATE TABLE purge_counter (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    number BIGINT NOT NULL
);
INSERT INTO purge_counter (id, number) VALUES (1, 0);

CREATE TABLE purge (
    number BIGINT PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    -- What `value` is: url, api or tag.
    what   TEXT   NOT NULL CHECK (what IN ('url', 'api', 'tag')),
    value  TEXT   NOT NULL,
    actor  TEXT   NOT NULL,
    at     BIGINT NOT NULL
);

CREATE INDEX purge_by_tenant ON purge (tenant, number);
