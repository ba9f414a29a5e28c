// A client of better-sqlite3, as session.py drives it: client.js FOLDER EXTENSION
//
// FOLDER has node_modules. Speaks the same lines as python_client.py.
'use strict';
const path = require('path');
const readline = require('readline');

const [folder, extension] = process.argv.slice(2);
const Database = require(path.join(folder, 'node_modules', 'better-sqlite3'));

let connection = new Database(':memory:');
connection.loadExtension(extension);

function answer(request) {
  try {
    if (request.open !== undefined) {
      connection.close();
      connection = new Database(request.open, { timeout: 0 });
      return { rows: [] };
    }
    const statement = connection.prepare(request.sql);
    if (statement.reader) return { rows: statement.all() };
    statement.run();
    return { rows: [] };
  } catch (error) {
    return { error: error.message };
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + '\n');
});
