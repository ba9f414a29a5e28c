"""Ways to load lockscope.so, in Python's sqlite3: by name, by default or not, twice, into two SQLites.

usage: loading_test.py LOCKSCOPE.SO

Exit status 77: Python here cannot load extensions. Each case runs in a process of its own, as what
is loaded stays loaded.
"""

import ctypes
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest

from session import FRAME_BYTES, PythonClient

EXTENSION = sys.argv[1]
RTLD_DEEPBIND = 8  # its own symbols first: a second SQLite must not call the first


def load(connection):
    connection.enable_load_extension(True)
    connection.load_extension(EXTENSION)


def connect(file, **options):
    return sqlite3.connect(file, isolation_level=None, timeout=0, check_same_thread=False, **options)


def vfs_of(connection):
    """The VFS that lockscope has seen this database opened with; None where it has not."""
    row = connection.execute(
        "select vfs from lockscope_connections where source = 'shim'").fetchone()
    return row and row[0]


class SecondSqlite:
    """Another copy of SQLite in this process, called by hand."""

    def __init__(self, folder):
        with open("/proc/self/maps", encoding="utf-8") as maps:
            (system,) = set(re.findall(r"/\S*libsqlite3\.so\S*", maps.read()))
        copy = os.path.join(folder, "libother.so")
        shutil.copyfile(system, copy)
        self.library = ctypes.CDLL(copy, mode=os.RTLD_LOCAL | os.RTLD_NOW | RTLD_DEEPBIND)
        self.db = ctypes.c_void_p()
        assert self.library.sqlite3_open(b":memory:", ctypes.byref(self.db)) == 0
        assert self.library.sqlite3_enable_load_extension(self.db, 1) == 0

    def load(self, extension):
        """sqlite3_load_extension's result code and message."""
        message = ctypes.c_char_p()
        code = self.library.sqlite3_load_extension(
            self.db, extension.encode(), None, ctypes.byref(message))
        return code, (message.value or b"").decode()

    def run(self, sql):
        return self.library.sqlite3_exec(self.db, sql.encode(), None, None, None)


class Loading(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="lockscope-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.db = os.path.join(self.folder, "app.db")
        maker = connect(self.db)
        maker.execute("pragma journal_mode = wal")
        maker.execute("create table jobs(id integer primary key, state int)")
        maker.execute("insert into jobs values (1, 0)")
        maker.close()

    def test_becomes_the_default_for_databases_opened_later(self):
        before = connect(self.db)
        before.execute("select * from jobs").fetchall()
        load(before)
        self.assertIsNone(vfs_of(before))
        after = connect(self.db)
        after.execute("select * from jobs").fetchall()
        self.assertEqual(vfs_of(after), "lockscope/unix")

    def test_is_found_by_name(self):
        load(connect(":memory:"))
        named = connect(f"file:{self.db}?vfs=lockscope", uri=True)
        named.execute("select * from jobs").fetchall()
        self.assertEqual(vfs_of(named), "lockscope/unix")

    def test_environment_leaves_the_default_as_it_is(self):
        os.environ["LOCKSCOPE_DEFAULT"] = "0"
        load(connect(":memory:"))
        plain = connect(self.db)
        plain.execute("select * from jobs").fetchall()
        self.assertIsNone(vfs_of(plain))
        self.assertEqual(plain.execute("select distinct source, pid from lockscope_locks").fetchall(),
                         [("kernel", os.getpid())])
        named = connect(f"file:{self.db}?vfs=lockscope", uri=True)
        named.execute("select * from jobs").fetchall()
        self.assertEqual(vfs_of(named), "lockscope/unix")

    def test_loading_again_is_harmless(self):
        first = connect(":memory:")
        load(first)
        load(first)
        load(connect(":memory:"))
        later = connect(self.db)
        later.execute("begin immediate")
        rows = later.execute("select count(*), min(verified) from lockscope_locks").fetchall()
        self.assertEqual(rows, [(4, 1)])

    def test_by_sql_function_too(self):
        connection = connect(":memory:")
        connection.enable_load_extension(True)
        connection.execute("select load_extension(?)", (EXTENSION,)).fetchall()
        later = connect(self.db)
        later.execute("select * from jobs").fetchall()
        self.assertEqual(vfs_of(later), "lockscope/unix")

    def test_serves_one_sqlite_and_refuses_a_second(self):
        first = connect(":memory:")
        load(first)
        version = sqlite3.sqlite_version
        second = SecondSqlite(self.folder)
        code, message = second.load(EXTENSION)
        self.assertEqual(code, sqlite3.SQLITE_ERROR)
        self.assertIn("already serves", message)
        self.assertIn(version, message)
        # Neither is harmed.
        self.assertEqual(second.run("select 1"), 0)
        self.assertEqual(second.run("select lockscope_version()"), sqlite3.SQLITE_ERROR)
        self.assertIn(version, first.execute("select lockscope_version()").fetchone()[0])
        # A copy of the file is another lockscope, for the other SQLite.
        copy = os.path.join(self.folder, "copy", "lockscope.so")
        os.mkdir(os.path.dirname(copy))
        shutil.copyfile(EXTENSION, copy)
        self.assertEqual(second.load(copy), (0, ""))
        self.assertEqual(second.run("select lockscope_version()"), 0)

    def test_another_thread_looks_while_one_works(self):
        load(connect(":memory:"))
        worker = connect(self.db)
        looker = connect(":memory:")
        stop = threading.Event()
        seen = []

        def look():
            while not stop.is_set():
                seen.extend(looker.execute(
                    "select mode, verified, sql from lockscope_locks(?)"
                    " where resource = 'wal-write' and granted", (self.db,)))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            while len(seen) < 20:
                worker.execute("begin immediate")
                worker.execute("update jobs set state = state + 1")
                worker.execute("commit")
        finally:
            stop.set()
            thread.join()
        self.assertEqual({mode for mode, _, _ in seen}, {"EXCLUSIVE"})
        self.assertNotIn(0, {verified for _, verified, _ in seen})
        self.assertLessEqual({sql for _, _, sql in seen}, {"begin immediate", None})
        changes = worker.execute("select state from jobs").fetchone()[0]
        self.assertEqual(
            looker.execute("select acquired - released, refused, acquired >= ?1 from"
                           " lockscope_stats(?2) where resource = 'wal-write'",
                           (changes, self.db)).fetchall(), [(0, 0, 1)])

    def test_snapshot_of_this_process_is_told_to_the_row(self):
        load(connect(":memory:"))
        other = PythonClient()
        self.addCleanup(other.kill)
        other.open(self.db)
        reader = connect(self.db)
        reader.execute("begin")
        reader.execute("select count(*) from jobs").fetchall()
        other.ask("update jobs set state = 7")
        checkpoint = other.one("pragma wal_checkpoint")
        behind = checkpoint["log"] - checkpoint["checkpointed"]
        looker = connect(":memory:")
        self.assertEqual(
            looker.execute("select pid, source, sql, autocommit, pins, behind_frames, pinned_bytes"
                           "  from lockscope_snapshots(?)", (self.db,)).fetchall(),
            [(os.getpid(), "shim", "select count(*) from jobs", 0, "backfill", behind,
              behind * FRAME_BYTES)])

    def test_bound_values_are_never_recorded(self):
        load(connect(":memory:"))
        reader = connect(self.db)
        reader.execute("begin")
        reader.execute("select * from jobs where state <> ?", ("secret",)).fetchall()
        looker = connect(":memory:")
        (text,) = looker.execute("select lockscope_json('snapshots', ?)", (self.db,)).fetchone()
        self.assertIn("select * from jobs where state <> ?", text)
        self.assertNotIn("secret", text)


def symbols():
    """What the file exports and needs."""
    nm = subprocess.run(["nm", "-D", "--defined-only", EXTENSION], capture_output=True, text=True,
                        check=True)
    readelf = subprocess.run(["readelf", "-d", EXTENSION], capture_output=True, text=True, check=True)
    return ([line.split()[-1] for line in nm.stdout.splitlines()],
            re.findall(r"\(NEEDED\).*\[(.*?)\.so", readelf.stdout))


class File(unittest.TestCase):
    def test_exports_its_entry_point_and_nothing_else(self):
        exported, _ = symbols()
        self.assertEqual(exported, ["sqlite3_lockscope_init"])

    def test_is_not_unloaded_when_its_entry_point_fails(self):
        # SQLite unloads an extension that failed; the VFS may be registered by then.
        readelf = subprocess.run(["readelf", "-d", EXTENSION], capture_output=True, text=True, check=True)
        self.assertIn("NODELETE", readelf.stdout)

    def test_needs_nothing_but_the_c_library(self):
        _, needed = symbols()
        self.assertLessEqual(set(needed), {"libc", "libm", "libpthread", "libdl", "ld-linux-x86-64",
                                           "ld-linux-aarch64"})
        self.assertIn("libc", needed)


def run_each():
    """Every case of Loading in a process of its own. Returns an exit status."""
    failed = 0
    for case in unittest.defaultTestLoader.getTestCaseNames(Loading):
        failed |= subprocess.run([sys.executable, __file__, EXTENSION, f"Loading.{case}"],
                                 check=False).returncode
    failed |= subprocess.run([sys.executable, __file__, EXTENSION, "File"], check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    if not hasattr(sqlite3.Connection, "load_extension"):
        print("skipped: this Python cannot load extensions")
        sys.exit(77)
    if len(sys.argv) == 2:
        sys.exit(run_each())
    del sys.argv[1]
    unittest.main(verbosity=2)
