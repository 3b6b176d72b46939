// mysql2. A token is sent in clear inside TLS, which the driver does only when it is told to.
'use strict'

const fs = require('node:fs')
const mysql = require('mysql2')
const { absent, place, run, stories } = require('./harness')

const DOCUMENTATION = 'https://sidorares.github.io/node-mysql2/docs/documentation'
const settings = { ...place, enableCleartextPlugin: true, charset: 'utf8mb4', dateStrings: true, supportBigNumbers: true, bigNumberStrings: true }

const shown = (fields) => fields?.map(({ name, columnType, flags, columnLength, characterSet }) =>
  ({ name, columnType, flags, columnLength, characterSet }))

const told = ([rows, fields]) =>
  Array.isArray(rows) ? { rows, columns: shown(fields) } : { affected: rows.affectedRows, changed: rows.changedRows, id: rows.insertId, warnings: rows.warningStatus, info: rows.info }

const adapter = {
  connect: async (more) => {
    const client = mysql.createConnection({ ...settings, ...more }).promise()
    client.on('error', () => {})
    await client.connect()
    return client
  },
  pool: () => mysql.createPool({ ...settings, connectionLimit: 2 }).promise(),
  query: async (client, sql, values) => told(await client.query(sql, values)),
  execute: async (client, sql, values) => told(await client.execute(sql, values)),
  results: async (client, sql) => (await client.query(sql))[0],
  stream: (client, sql) => client.connection.query(sql).stream(),
  end: (client) => client.end(),
  charset: (charset) => ({ charset }),
}

const { version } = JSON.parse(fs.readFileSync(require.resolve('mysql2/package.json')))
run(`mysql2 ${version}, Node ${process.versions.node}`, {
  ...stories(adapter),
  cursor: absent('no cursors at the server', DOCUMENTATION),
  longData: absent('no COM_STMT_SEND_LONG_DATA', DOCUMENTATION),
})
