"""Storage: tables, engines, migrations, idempotent bulk writes and queries.

Public names, each in its own module so that importing this package loads neither SQLAlchemy, alembic nor pandas:

- `tables`: `TABLES`, `logical_database`, `physical_database`, `find_table`: the schema.
- `engines`: `open_database(url, environment)`: connections and transactions on SQLite, PostgreSQL and MySQL.
- `migrations`: `migrate`, `current_revisions`: brings every database to a revision.
- `writes`: `upsert`, `WriteCounts`: frames into tables, writing only what differs.
- `queries`: `query_data`, `select_data`, `latest_candles`, `entity_ids`, `row_count`: tables into frames.
- `care`: statistics, sizes and health of the database, and which index serves which query.
- `removal`: taking rows or revisions back, after copies were made of what no exchange can be asked for again.
- `archive`: old candles into Parquet files and back.
- `errors`: `DatabaseError` and its kinds.

What a stored row must look like is judged by `frames`, what a complete table is by `quality`. Called by `quality`,
`collect`, `report`, `orchestration`, `cli` and users.
"""
