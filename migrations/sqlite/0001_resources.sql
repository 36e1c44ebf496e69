-- What operators said, as it is now.
CREATE TABLE resource (
    kind       TEXT    NOT NULL,
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    -- The revision that last changed it.
    version    INTEGER NOT NULL,
    managed_by TEXT    NOT NULL,
    -- Microseconds since 1970-01-01, as every time in this store.
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- JSON, as text: it must come back byte for byte, for digests are made of it.
    spec       TEXT    NOT NULL,
    PRIMARY KEY (kind, tenant, name)
) STRICT;
