"""Where MLflow keeps runs when no server is named: a SQLite database and a folder of artifacts."""

import fcntl
import sqlite3
from pathlib import Path


class Store:
    """`folder`/mlflow.db and `folder`/artifacts, the places at which docker/mlflow.sh and `make mlflow` look."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.database = self.folder / "mlflow.db"
        self.uri = f"sqlite:///{self.database}"
        self.artifact_root = (self.folder / "artifacts").as_uri()

    def prepare(self) -> None:
        """Make the database where it is not there: one process does, the others wait.

        It appears whole: made under another name first, as jobs that set up the same file at once break one another
        off. With a write-ahead log a page that is read does not stop a run that writes.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.database.exists():
                self._create()
            connection = sqlite3.connect(self.database, timeout=20)
            try:
                self._use_write_ahead_log(connection)
                self._move_here(connection)
            finally:
                connection.close()

    def _create(self) -> None:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        partial = self.database.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        store = SqlAlchemyStore(f"sqlite:///{partial}", self.artifact_root)
        store.engine.dispose()
        partial.rename(self.database)

    def location(self, uri: str) -> str:
        """Where the files of a run are: in `artifacts`, also if its experiment was made on the page of the server."""
        return uri.replace("mlflow-artifacts:", self.artifact_root, 1)

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":  # MLflow's server has made it
            connection.execute("PRAGMA journal_mode=WAL")

    def _move_here(self, connection: sqlite3.Connection) -> None:
        """MLflow writes down absolute paths: in a container, or moved, the same folder has another one."""
        tail = f"/{self.folder.name}/artifacts/"
        with connection:
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, instr({column}, ?) + ?) "
                    f"WHERE {column} LIKE 'file://%' || ? || '%' AND instr({column}, ?) != 1",
                    (f"{self.artifact_root}/", tail, len(tail), tail, f"{self.artifact_root}/"),
                )
