-- Every node that has ever joined.
CREATE TABLE node (
    gateway            TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    build              TEXT    NOT NULL,
    -- A JSON object of strings.
    labels             TEXT    NOT NULL,
    certificate_serial TEXT    NOT NULL,
    first_seen_at      INTEGER NOT NULL,
    last_seen_at       INTEGER NOT NULL,
    PRIMARY KEY (gateway, name)
) STRICT;
