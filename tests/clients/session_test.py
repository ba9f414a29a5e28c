"""The same diagnostic session in the sqlite3 shell, Python's sqlite3 and better-sqlite3.

usage: session_test.py shell|python|node LOCKSCOPE.SO [FOLDER WITH node_modules]

Exit status 77: this machine has no such client.
"""

import os
import shutil
import sys
import tempfile
import unittest

from session import FRAME_BYTES, PYTHON, NodeClient, PythonClient, Refused, ShellClient

KIND, EXTENSION = sys.argv[1:3]
NODE_FOLDER = sys.argv[3] if len(sys.argv) > 3 else ""
del sys.argv[1:]


def new_client():
    if KIND == "shell":
        return ShellClient(EXTENSION)
    if KIND == "python":
        return PythonClient(EXTENSION)
    return NodeClient(NODE_FOLDER, EXTENSION)


def missing():
    """What this machine lacks; empty for nothing."""
    if not os.access(PYTHON, os.X_OK):
        return PYTHON
    if KIND == "shell":
        return next((p for p in ("sqlite3", "stdbuf") if not shutil.which(p)), "")
    if KIND == "node":
        binary = "node_modules/better-sqlite3/build/Release/better_sqlite3.node"
        return "" if os.path.exists(os.path.join(NODE_FOLDER, binary)) else "better-sqlite3"
    return ""


class Session(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="lockscope-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.db = os.path.join(self.folder, "app.db")
        self.other = self.start(PythonClient())
        self.other.open(self.db)
        self.other.ask("pragma journal_mode = wal")
        self.other.ask("create table jobs(id integer primary key, state int)")
        self.other.ask("insert into jobs values (1, 0), (2, 0)")
        self.client = self.start(new_client())

    def start(self, client):
        self.addCleanup(client.kill)
        return client

    def test_loads_and_tells_its_version(self):
        version = self.client.one("select lockscope_version() as v, sqlite_version() as s")
        self.assertRegex(version["v"], r"^lockscope \d+\.\d+\.\d+ \(SQLite " + version["s"] + " ")

    def test_databases_opened_later_go_through_the_shim_by_default(self):
        self.client.open(self.db)
        self.client.ask("select * from jobs")
        rows = self.client.ask(
            "select pid, source, state, journal_mode, autocommit, sqlite_version,"
            "       sqlite_version() as expected"
            "  from lockscope_connections order by source = 'kernel'")
        self.assertEqual([(r["pid"], r["source"]) for r in rows],
                         [(self.pid(), "shim"), (self.other.pid, "kernel")])
        self.assertEqual(rows[0]["journal_mode"], "wal")
        self.assertEqual(rows[0]["autocommit"], 1)
        self.assertEqual(rows[0]["sqlite_version"], rows[0]["expected"])
        self.assertEqual(rows[1]["state"], "idle")
        self.assertIsNone(rows[1]["sqlite_version"])

    def test_own_snapshot_shows_its_sql_and_what_it_pins(self):
        self.client.open(self.db)
        self.client.ask("begin")
        self.client.ask("select id, state from jobs where state = 0")
        own = self.own_snapshot()
        self.assertEqual(own["sql"].rstrip(";"), "select id, state from jobs where state = 0")
        self.assertEqual(own["pins"], "restart")
        self.assertEqual((own["slot"], own["autocommit"], own["behind_frames"]), (1, 0, 0))
        self.assertGreaterEqual(own["age_ms"], 0)
        self.assertRegex(own["since"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$")

        self.other.ask("update jobs set state = 1")
        log, checkpointed = [self.other.one("pragma wal_checkpoint")[k]
                             for k in ("log", "checkpointed")]
        behind = log - checkpointed
        self.assertGreater(behind, 0)
        own = self.own_snapshot()
        self.assertEqual((own["frame"], own["behind_frames"], own["pins"], own["pinned_bytes"]),
                         (checkpointed, behind, "backfill", behind * FRAME_BYTES))
        wal = self.client.one("select * from lockscope_wal")
        self.assertEqual((wal["frames"], wal["backfilled"], wal["backfill_pinned_by"]),
                         (log, checkpointed, self.pid()))
        self.client.ask("commit")
        # What is left is the query itself: SQLite begins a read transaction for every SELECT.
        self.assertEqual(self.own_snapshot()["sql"].rstrip(";"),
                         "select * from lockscope_snapshots where source = 'shim'")

    def test_names_the_holder_behind_database_is_locked(self):
        self.client.open(self.db)
        self.client.ask("select * from jobs")
        self.other.ask("begin immediate")
        with self.assertRaisesRegex(Refused, "database is locked"):
            self.client.ask("update jobs set state = 2")
        self.assertEqual(
            self.client.ask("select pid, mode, granted, source from lockscope_locks"
                            " where resource = 'wal-write'"),
            [{"pid": self.other.pid, "mode": "EXCLUSIVE", "granted": 1, "source": "kernel"}])
        own = self.client.one("select busy_count, last_busy is not null as known"
                              "  from lockscope_connections where source = 'shim'")
        self.assertEqual(own, {"busy_count": 1, "known": 1})
        self.other.ask("rollback")
        self.client.ask("update jobs set state = 2")

    def test_own_locks_are_verified(self):
        self.client.open(self.db)
        self.client.ask("begin immediate")
        rows = self.client.ask("select resource, verified from lockscope_locks"
                               " where source = 'shim' order by 1")
        self.assertEqual([r["resource"] for r in rows],
                         ["database", "wal-open", "wal-read-1", "wal-write"])
        self.assertEqual([r["verified"] for r in rows], [1, 1, 1, 1])

    def test_looks_at_a_locked_database_by_path(self):
        self.other.ask("pragma journal_mode = delete")
        self.other.ask("begin exclusive")
        path = f"'{self.db}'"
        expected = {"pid": self.other.pid, "mode": "EXCLUSIVE"}
        self.assertEqual(self.client.one(f"select pid, mode from lockscope_locks({path})"), expected)
        self.assertEqual(self.client.value(
            f"select json_extract(lockscope_json('locks', {path}), '$[0].pid')"), self.other.pid)
        self.assertEqual(self.client.value(f"select lockscope_set('target', {path})"), self.db)
        self.assertEqual(self.client.one("select pid, mode from lockscope_locks"), expected)
        self.other.ask("commit")
        self.assertEqual(self.client.ask("select pid, mode from lockscope_locks"), [])

    def test_story_of_a_commit_is_in_the_events(self):
        self.client.open(self.db)
        self.client.ask("update jobs set state = 3")
        events = self.client.ask(
            "select operation, resource, to_mode, result from lockscope_events"
            " where resource in ('wal-write', 'wal-read-1') order by seq")
        story = [(e["operation"], e["resource"], e["to_mode"], e["result"]) for e in events]
        begin = story.index(("shm-lock", "wal-write", "EXCLUSIVE", "SQLITE_OK"))
        self.assertEqual(story[begin - 1], ("shm-lock", "wal-read-1", "SHARED", "SQLITE_OK"))
        self.assertEqual(story[begin + 1:begin + 3],
                         [("shm-unlock", "wal-write", "NONE", "SQLITE_OK"),
                          ("shm-unlock", "wal-read-1", "NONE", "SQLITE_OK")])
        self.assertEqual(
            self.client.one("select acquired, released, refused from lockscope_stats"
                            " where resource = 'wal-write'"),
            {"acquired": 1, "released": 1, "refused": 0})

    def test_pragmas_answer_in_one_row(self):
        self.client.open(self.db)
        self.client.ask("begin")
        self.client.ask("select * from jobs")
        for pragma in ("lockscope_wal", "wal_status"):
            self.assertRegex(self.client.value(f"pragma {pragma}"), r"^WAL, 4096-byte pages, ")
        self.assertIn(f"pid {self.pid()}", self.client.value("pragma lockscope_locks"))

    def test_errors_say_what_was_wrong(self):
        with self.assertRaisesRegex(Refused, r"/nonexistent/x\.db"):
            self.client.ask("select * from lockscope_locks('/nonexistent/x.db')")
        with self.assertRaisesRegex(Refused, "no table 'nothing'"):
            self.client.ask("select lockscope_json('nothing')")
        with self.assertRaisesRegex(Refused, "capture_sql"):
            self.client.ask("select lockscope_set('capture_sql', 'perhaps')")

    # The process that has lockscope loaded; stdbuf becomes the shell.
    def pid(self):
        return self.client.pid

    def own_snapshot(self):
        return self.client.one("select * from lockscope_snapshots where source = 'shim'")


if __name__ == "__main__":
    if missing():
        print(f"skipped: there is no {missing()}")
        sys.exit(77)
    unittest.main(verbosity=2)
