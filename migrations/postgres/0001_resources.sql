-- What operators said, as it is now. Names collate as bytes, so that both databases sort alike.
CREATE TABLE resource (
    kind       TEXT COLLATE "C" NOT NULL,
    tenant     TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    -- The revision that last changed it.
    version    BIGINT NOT NULL,
    managed_by TEXT   NOT NULL,
    -- Microseconds since 1970-01-01, as every time in this store.
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- JSON, as text: it must come back byte for byte, for digests are made of it.
    spec       TEXT   NOT NULL,
    PRIMARY KEY (kind, tenant, name)
);
