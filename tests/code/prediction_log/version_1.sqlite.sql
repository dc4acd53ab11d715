-- A log as version 1 of the schema made it, in SQLite: two predictions, a shadow, a batch row, refusals and two labels.
CREATE TABLE labels (
	prediction_id TEXT NOT NULL,
	value DOUBLE NOT NULL,
	observed_at TEXT,
	source TEXT,
	received TEXT NOT NULL,
	PRIMARY KEY (prediction_id)
)
 WITHOUT ROWID

;
INSERT INTO "labels" VALUES('01a20d6d-5a00-7000-8000-000000000000',850.0,'2026-11-24T13:00:00.000000+00:00','agency','2026-11-30T03:06:22.502962+00:00');
INSERT INTO "labels" VALUES('01a20da4-4880-7000-8000-000000000000',900.0,NULL,NULL,'2026-11-30T03:06:22.502962+00:00');
CREATE TABLE monitoring_results (
	name TEXT NOT NULL,
	at TEXT NOT NULL,
	result JSON NOT NULL,
	PRIMARY KEY (name, at)
)
 WITHOUT ROWID

;
CREATE TABLE prediction_log_version (
	version INTEGER NOT NULL,
	PRIMARY KEY (version)
);
INSERT INTO "prediction_log_version" VALUES(1);
CREATE TABLE predictions (
	id TEXT NOT NULL,
	role TEXT NOT NULL,
	at TEXT NOT NULL,
	source TEXT NOT NULL,
	version TEXT NOT NULL,
	digest TEXT NOT NULL,
	features JSON NOT NULL,
	value DOUBLE NOT NULL,
	lower DOUBLE NOT NULL,
	upper DOUBLE NOT NULL,
	warnings JSON NOT NULL,
	latency DOUBLE,
	request_id TEXT,
	subject TEXT,
	PRIMARY KEY (id, role)
)
 WITHOUT ROWID

;
INSERT INTO "predictions" VALUES('01a20d6d-5a00-7000-8000-000000000000','champion','2026-11-24T12:00:00.000000+00:00','serve','3','d1ge57','{"area":70.5,"rooms":3,"heating":"oil","balcony":null}',100.0,20.0,180.0,'["area"]',0.25,'r','Ada');
INSERT INTO "predictions" VALUES('01a20d6d-5a00-7000-8000-000000000000','shadow','2026-11-24T12:00:00.000000+00:00','serve','3','d1ge57','{"area":70.5,"rooms":3,"heating":"oil","balcony":null}',100.0,20.0,180.0,'[]',NULL,NULL,NULL);
INSERT INTO "predictions" VALUES('01a20da4-4880-7000-8000-000000000000','champion','2026-11-24T13:00:00.000000+00:00','serve','3','d1ge57','{"area":70.5,"rooms":3,"heating":"oil","balcony":null}',101.0,21.0,181.0,'["rooms"]',0.25,'r',NULL);
INSERT INTO "predictions" VALUES('01a20ddb-3700-7000-8000-000000000000','champion','2026-11-24T14:00:00.000000+00:00','batch','3','d1ge57','{"area":70.5,"rooms":3,"heating":"oil","balcony":null}',100.0,20.0,180.0,'[]',NULL,NULL,NULL);
CREATE TABLE refusals (
	id TEXT NOT NULL,
	at TEXT NOT NULL,
	source TEXT NOT NULL,
	version TEXT NOT NULL,
	"column" TEXT,
	reason TEXT NOT NULL,
	count BIGINT NOT NULL,
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
INSERT INTO "refusals" VALUES('01a20d6d-5a00-7000-8000-000000000000','2026-11-24T12:00:00.000000+00:00','serve','3','area','allowed: something else',2);
