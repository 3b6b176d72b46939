// MariaDB's connector.
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const mariadb = require('mariadb')
const { absent, place, run, stories } = require('./harness')

const DOCUMENTATION = 'https://mariadb.com/docs/connectors/mariadb-connector-nodejs'
const settings = { ...place, dateStrings: true, maxAllowedPacket: 64 << 20 }

const shown = (meta) => meta?.map((column) =>
  ({ name: column.name(), type: column.type, length: column.columnLength, flags: column.flags, collation: column.collation?.name }))

const told = (result) =>
  Array.isArray(result) ? { rows: [...result], columns: shown(result.meta) } : { affected: result.affectedRows, id: result.insertId, warnings: result.warningStatus }

const adapter = {
  connect: async (more) => {
    const client = await mariadb.createConnection({ ...settings, ...more })
    client.on('error', () => {})
    return client
  },
  pool: () => mariadb.createPool({ ...settings, connectionLimit: 2, minDelayValidation: 0 }),
  query: async (client, sql, values) => told(await client.query(sql, values)),
  execute: async (client, sql, values) => told(await client.execute(sql, values)),
  results: async (client, sql) => await client.query(sql),
  stream: (client, sql) => client.queryStream(sql),
  end: (client) => client.end(),
  charset: (charset) => ({ charset }),
}

const manifest = path.join(process.env.NODE_PATH, 'mariadb', 'package.json')
const { version } = JSON.parse(fs.readFileSync(manifest))
run(`mariadb ${version}, Node ${process.versions.node}`, {
  ...stories(adapter),
  cursor: absent('no cursors at the server', DOCUMENTATION),
  longData: absent('no COM_STMT_SEND_LONG_DATA', DOCUMENTATION),
})
