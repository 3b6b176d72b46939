// node-postgres: `pg` with `pg-copy-streams`.
'use strict'

const assert = require('node:assert')
const { Readable } = require('node:stream')
const { pipeline } = require('node:stream/promises')
const pg = require('pg')
const copy = require('pg-copy-streams')
const harness = require('./harness')

async function connect (password = harness.password, more = {}) {
  const { host, port, database, user, ca } = harness
  const client = new pg.Client({ host, port, database, user, password, ssl: { ca, servername: host }, ...more })
  await client.connect()
  return client
}

async function one (client, text, values) {
  return (await client.query({ text, values, rowMode: 'array' })).rows[0][0]
}

async function login (password) {
  const client = await connect(password)
  assert.strictEqual(await one(client, 'select session_user'), harness.user)
  assert.strictEqual(await one(client, 'select pg_backend_pid()'), client.processID)
  await client.end()
}

async function simple () {
  const client = await connect()
  assert.strictEqual(await one(client, 'select 6 * 7'), 42)
  await harness.failsWith('42P01', client.query('select * from no_such_table'))
  assert.strictEqual(await one(client, 'select 1'), 1)
  await client.end()
}

async function prepared () {
  const client = await connect()
  for (let value = 0; value < 10; value++) {
    const { rows } = await client.query({ name: 'twice', text: 'select 2 * $1::int as value', values: [value] })
    assert.strictEqual(rows[0].value, 2 * value)
  }
  await client.end()
}

async function pipelined () {
  const client = await connect(undefined, { pipeline: true })
  const asked = []
  for (let n = 0; n < 500; n++) asked.push(one(client, 'select $1::int', [n]))
  assert.deepStrictEqual(await Promise.all(asked), [...Array(500).keys()])
  const around = await Promise.allSettled([
    one(client, 'select 1'), one(client, 'select 1 / 0'), one(client, 'select 2'),
  ])
  assert.deepStrictEqual(around.map(({ value, reason }) => value ?? reason.code), [1, '22012', 2])
  await client.end()
}

async function copyIn () {
  const client = await connect()
  await client.query('create temp table copied (id int, name text)')
  const lines = Array.from({ length: harness.ROWS }, (_, n) => `${n}\tname ${n}\n`)
  await pipeline(Readable.from(lines), client.query(copy.from('copy copied from stdin')))
  assert.strictEqual(await one(client, 'select sum(id)::int from copied'), harness.ROWS * (harness.ROWS - 1) / 2)
  await client.end()
}

async function copyOut () {
  const client = await connect()
  let text = ''
  const rows = client.query(copy.to(`copy (select generate_series(1, ${harness.ROWS})) to stdout`))
  for await (const chunk of rows) text += chunk
  harness.same(text, Array.from({ length: harness.ROWS }, (_, n) => `${n + 1}\n`).join(''))
  await client.end()
}

async function cancel () {
  const [client, observer] = [await connect(), await connect()]
  const query = new pg.Query('select pg_sleep(61)')
  const ended = new Promise((resolve) => {
    query.on('error', (error) => resolve(error.code))
    query.on('end', () => resolve('it slept'))
  })
  client.query(query)
  await harness.poll(async () => await one(observer, harness.RUNNING) === 1)
  const { host, port, ca } = harness
  new pg.Client({ host, port, ssl: { ca, servername: host } }).cancel(client, query)
  assert.strictEqual(await ended, '57014')
  assert.strictEqual(await one(client, 'select 1'), 1)
  await Promise.all([client.end(), observer.end()])
}

async function largeIn () {
  const client = await connect()
  assert.strictEqual(await one(client, 'select md5($1)', [harness.LARGE]), harness.LARGE_MD5)
  await client.end()
}

async function largeOut () {
  const client = await connect()
  harness.same(await one(client, harness.LARGE_SQL), harness.LARGE)
  await client.end()
}

async function reconnect () {
  await login()
  const both = await Promise.all([connect(), connect()])
  for (const client of both) {
    assert.strictEqual(await one(client, 'select 1'), 1)
    await client.end()
  }
}

const version = (name) => require(`${name}/package.json`).version
harness.run(`pg ${version('pg')}, pg-copy-streams ${version('pg-copy-streams')}, Node ${process.versions.node}`, {
  login, handle: () => login(harness.handle), simple, prepared, pipeline: pipelined, copyIn, copyOut, cancel, largeIn,
  largeOut, reconnect,
})
