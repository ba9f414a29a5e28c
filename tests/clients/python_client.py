"""A client of Python's sqlite3, as session.py drives it: python_client.py [EXTENSION]

Reads one JSON object a line, {"open": FILE} or {"sql": STATEMENT}, and answers with one,
{"rows": [...]} or {"error": MESSAGE}. With an extension it begins as a :memory: database that has
loaded it; without, it is a process of plain SQLite.
"""

import json
import sqlite3
import sys


def connect(file):
    connection = sqlite3.connect(file, isolation_level=None, timeout=0, uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def main():
    connection = connect(":memory:")
    if len(sys.argv) > 1:
        connection.enable_load_extension(True)
        connection.load_extension(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "open" in request:
                connection.close()
                connection = connect(request["open"])
                rows = []
            else:
                rows = [dict(row) for row in connection.execute(request["sql"])]
            answer = {"rows": rows}
        except sqlite3.Error as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


main()
