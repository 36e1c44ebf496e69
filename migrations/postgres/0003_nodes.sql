-- Every node that has ever joined.
CREATE TABLE node (
    gateway            TEXT COLLATE "C" NOT NULL,
    name               TEXT COLLATE "C" NOT NULL,
    build              TEXT    NOT NULL,
    -- A JSON object of strings.
    labels             TEXT    NOT NULL,
    certificate_serial TEXT    NOT NULL,
    first_seen_at      BIGINT NOT NULL,
    last_seen_at       BIGINT NOT NULL,
    PRIMARY KEY (gateway, name)
);
