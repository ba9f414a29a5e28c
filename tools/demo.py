#!/usr/bin/env python3
"""The processes of tools/demo: each plays one part on the database, with Python's own sqlite3.

usage: demo.py create FILE MEGABYTES
       demo.py writer FILE               plain SQLite, small transactions, until it is ended
       demo.py observed-writer FILE LOCKSCOPE.SO    the same, having loaded lockscope first
       demo.py forgetful-reader FILE     begins a transaction, reads one row, and forgets it
       demo.py name-reader PID           reads `lockscope why --json` from stdin: does it name PID?
       demo.py commits FILE              how many transactions the writers have committed
       demo.py verdict FILE              is this copy whole? Exit status 0: yes; 1: no, and why

A part says "ready" once it plays. It ends when the process that started it does.
"""
import json
import os
import random
import signal
import sqlite3
import sys
import time

ROW_BYTES = 4000


def create(path, megabytes):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute('PRAGMA journal_mode = wal')
    db.execute('PRAGMA synchronous = off')
    # Transactions move points from one job to another: whatever is committed, their sum is 0.
    db.execute('CREATE TABLE jobs(id INTEGER PRIMARY KEY, state INT NOT NULL, points INT NOT NULL, payload BLOB)')
    db.execute('CREATE TABLE commits(count INT NOT NULL)')
    db.execute('INSERT INTO commits VALUES (0)')
    rows = int(megabytes) * 1_000_000 // (ROW_BYTES + 100)
    db.execute('BEGIN')
    db.execute('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) '
               'INSERT INTO jobs SELECT i, 0, 0, randomblob(?) FROM n', (rows, ROW_BYTES))
    db.execute('CREATE INDEX jobs_by_points ON jobs(points)')
    db.execute('COMMIT')
    db.execute('PRAGMA wal_checkpoint(truncate)')
    db.close()


def while_parent_lives():
    parent = os.getppid()
    while os.getppid() == parent:
        yield


def write(path, library=None):
    if library:
        session = sqlite3.connect(':memory:')
        session.enable_load_extension(True)
        session.load_extension(library)
    db = sqlite3.connect(path, isolation_level=None, timeout=10)
    rows = db.execute('SELECT max(id) FROM jobs').fetchone()[0]
    print('ready', flush=True)
    for _ in while_parent_lives():
        db.execute('BEGIN IMMEDIATE')
        for _ in range(10):
            points = random.randint(1, 100)
            for sign in (1, -1):
                db.execute('UPDATE jobs SET state = state + 1, points = points + ?, payload = randomblob(?) '
                           'WHERE id = ?', (sign * points, ROW_BYTES, random.randint(1, rows)))
        db.execute('UPDATE commits SET count = count + 1')
        db.execute('COMMIT')
        time.sleep(0.02)


def forget(path):
    db = sqlite3.connect(path, isolation_level=None, timeout=10)
    db.execute('BEGIN')
    db.execute('SELECT id, payload FROM jobs WHERE state = 0 LIMIT 1').fetchone()
    print('ready', flush=True)
    for _ in while_parent_lives():
        time.sleep(0.2)


def name_reader(pid):
    starved = [finding for finding in json.load(sys.stdin)
               if finding['hazard'] == 'starved-checkpoint']
    named = [finding['pid'] for finding in starved]
    if named != [int(pid)]:
        print(f'The forgetful reader is pid {pid}, but lockscope named {named or "nobody"}.')
        sys.exit(1)
    print(starved[0]['text'])
    print(f'That is right: the forgetful reader that was started above is pid {pid}.')


def commits(path):
    db = sqlite3.connect(path, isolation_level=None, timeout=10)
    print(db.execute('SELECT count FROM commits').fetchone()[0])


def verdict(path):
    """Opens the copy, which replays its WAL, and looks for what cannot be in any committed state."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        problems = [row[0] for row in db.execute('PRAGMA integrity_check(3)') if row[0] != 'ok']
        total = db.execute('SELECT sum(points) FROM jobs NOT INDEXED').fetchone()[0]
        count = db.execute('SELECT count FROM commits').fetchone()[0]
    except sqlite3.DatabaseError as error:
        sys.exit(print(f'BROKEN: {error}') or 1)
    if problems or total != 0:
        wrong = [f'points add up to {total:,} instead of 0'] if total else []
        sys.exit(print(f'BROKEN: {"; ".join(wrong + [p.splitlines()[-1] for p in problems])}') or 1)
    print(f'whole: integrity_check ok, points add up to 0, {count:,} transactions')


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the script, which ends its parts
    parts = {'create': create, 'writer': write, 'observed-writer': write,
             'forgetful-reader': forget, 'name-reader': name_reader,
             'commits': commits, 'verdict': verdict}
    if len(sys.argv) < 3 or sys.argv[1] not in parts:
        sys.exit(__doc__)
    try:
        parts[sys.argv[1]](*sys.argv[2:])
    except sqlite3.Error as error:
        sys.exit(f'demo.py {sys.argv[1]}: {error}')
