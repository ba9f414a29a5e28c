"""Clients that a test talks to, statement by statement.

    client = PythonClient(extension)        # or ShellClient, NodeClient
    client.open("app.db")
    client.ask("select 1 as one")           # [{"one": 1}]; raises Refused where SQLite refuses

PythonClient() without an extension is somebody else: a process of plain SQLite.
"""

import json
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
FRAME_BYTES = 24 + 4096  # in the WAL of a database with pages of 4096 bytes


class Refused(Exception):
    """What SQLite said."""


class Client:
    """A process that answers {"rows": …} or {"error": …}, a line for a line."""

    def __init__(self, argv, env=None):
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, bufsize=1, env={**os.environ, **(env or {})})

    @property
    def pid(self):
        return self.process.pid

    def open(self, file):
        self._send({"open": file})

    def ask(self, sql):
        return self._send({"sql": sql})

    def one(self, sql):
        rows = self.ask(sql)
        if len(rows) != 1:
            raise AssertionError(f"{sql}: {len(rows)} rows: {rows}")
        return rows[0]

    def value(self, sql):
        (value,) = self.one(sql).values()
        return value

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _send(self, request):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        try:
            answer = json.loads(line)
        except ValueError:
            rest = "" if self.process.poll() is None else self.process.stdout.read()
            raise AssertionError(f"{request}: {line}{rest}") from None
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["rows"]


class PythonClient(Client):
    def __init__(self, extension=None, env=None):
        super().__init__([PYTHON, os.path.join(HERE, "python_client.py"),
                          *([extension] if extension else [])], env)


class NodeClient(Client):
    def __init__(self, folder, extension):
        super().__init__(["node", os.path.join(HERE, "node", "client.js"), folder, extension])


class ShellClient(Client):
    """The sqlite3 shell, told as a person would."""

    END = "-- end --"

    def __init__(self, extension):
        # Line by line: in a pipe the shell would keep its answers until the end.
        super().__init__(["stdbuf", "-oL", "sqlite3", "-batch", "-init", os.devnull])
        self._type(f".load {extension}", ".mode json")

    def open(self, file):
        self._type(f".open {file}")

    def ask(self, sql):
        text = self._type(sql + ";")
        return json.loads(text) if text else []

    def _type(self, *lines):
        for line in (*lines, f".print {self.END}"):
            print(line, file=self.process.stdin, flush=True)
        text = ""
        for line in self.process.stdout:
            if line.strip() == self.END:
                break
            text += line
        else:
            raise AssertionError(f"{lines}: the shell ended: {text}")
        if text and not text.startswith("["):
            raise Refused(text.strip())
        return text
