"""Runs revisions on the connection that `records.database` holds, within its transaction."""

from alembic import context

from records.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # also on SQLite, whose transaction was begun by hand
)
context.run_migrations()
