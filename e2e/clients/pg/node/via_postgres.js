// Postgres.js: `postgres`.
'use strict'

const assert = require('node:assert')
const { Readable } = require('node:stream')
const { pipeline } = require('node:stream/promises')
const path = require('node:path')
const postgres = require('postgres')
const harness = require('./harness')

function connect (password = harness.password, max = 1) {
  const { host, port, database, user, ca } = harness
  return postgres({ host, port, database, user, password, max, ssl: { ca, servername: host }, onnotice () {} })
}

async function one (query) {
  return (await query.values())[0][0]
}

// Runs the story with one session.
async function within (story, password) {
  const sql = connect(password)
  await story(sql)
  await sql.end()
}

const login = (password) => within(async (sql) => {
  assert.strictEqual(await one(sql`select session_user`), harness.user)
}, password)

const simple = () => within(async (sql) => {
  assert.strictEqual(await one(sql`select 6 * 7`.simple()), 42)
  await harness.failsWith('42P01', sql`select * from no_such_table`.simple())
  assert.strictEqual(await one(sql`select 1`), 1)
})

const prepared = () => within(async (sql) => {
  for (let value = 0; value < 10; value++) assert.strictEqual(await one(sql`select 2 * ${value}::int`), 2 * value)
  assert.strictEqual(await one(sql`select count(*)::int from pg_prepared_statements where statement like 'select 2 *%'`), 1)
})

// Its sessions send a statement without waiting for the answer to the one before.
const pipelined = () => within(async (sql) => {
  const asked = Array.from({ length: 500 }, (_, n) => one(sql`select ${n}::int`))
  assert.deepStrictEqual(await Promise.all(asked), [...Array(500).keys()])
  const around = await Promise.allSettled([one(sql`select 1`), one(sql`select 1 / 0`), one(sql`select 2`)])
  assert.deepStrictEqual(around.map(({ value, reason }) => value ?? reason.code), [1, '22012', 2])
})

const copyIn = () => within(async (sql) => {
  await sql`create temp table copied (id int, name text)`
  const lines = Array.from({ length: harness.ROWS }, (_, n) => `${n}\tname ${n}\n`)
  await pipeline(Readable.from(lines), await sql`copy copied from stdin`.writable())
  assert.strictEqual(await one(sql`select sum(id)::int from copied`), harness.ROWS * (harness.ROWS - 1) / 2)
})

const copyOut = () => within(async (sql) => {
  let text = ''
  for await (const chunk of await sql`copy (select generate_series(1, 10000)) to stdout`.readable()) text += chunk
  harness.same(text, Array.from({ length: harness.ROWS }, (_, n) => `${n + 1}\n`).join(''))
})

const cancel = () => within(async (sql) => {
  const observer = connect()
  const query = sql`select pg_sleep(61)`
  const ended = query.then(() => 'it slept', (error) => error.code)
  await harness.poll(async () => await one(observer.unsafe(harness.RUNNING)) === 1)
  query.cancel()
  assert.strictEqual(await ended, '57014')
  assert.strictEqual(await one(sql`select 1`), 1)
  await observer.end()
})

const largeIn = () => within(async (sql) => {
  assert.strictEqual(await one(sql`select md5(${harness.LARGE})`), harness.LARGE_MD5)
})

const largeOut = () => within(async (sql) => {
  harness.same(await one(sql.unsafe(harness.LARGE_SQL)), harness.LARGE)
})

async function reconnect () {
  await login()
  const sql = connect(undefined, 2)
  const both = await Promise.all([sql.reserve(), sql.reserve()])
  for (const reserved of both) {
    assert.strictEqual(await one(reserved`select 1`), 1)
    reserved.release()
  }
  await sql.end()
}

// It does not export its package.json.
const { version } = require(path.join(require.resolve('postgres'), '../../../package.json'))
harness.run(`postgres ${version}, Node ${process.versions.node}`, {
  login, handle: () => login(harness.handle), simple, prepared, pipeline: pipelined, copyIn, copyOut, cancel, largeIn,
  largeOut, reconnect,
})
