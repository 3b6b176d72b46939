// What every Node client does: say its versions, then one line for each feature.
'use strict'

const assert = require('node:assert')
const crypto = require('node:crypto')
const fs = require('node:fs')

const FEATURES = [
  'login', 'handle', 'refused', 'query', 'types', 'prepared', 'multi', 'procedure', 'stream', 'cursor', 'largeIn',
  'largeOut', 'longData', 'transaction', 'kill', 'reset', 'changeUser', 'reconnect', 'charset', 'orm',
]
// Only at a gateway.
const OF_GATEWAY = ['handle', 'refused', 'changeUser']
const ROWS = 100000
const LARGE = '0123456789abcdef'.repeat(5 * 256 * 1024)
const LARGE_SQL = "select repeat('0123456789abcdef', 5 * 256 * 1024) as value"
const SLEEP = 'select sleep(61)'
const RUNNING =
  "select count(*) as value from information_schema.processlist where info like 'select sleep(61)%' and state like 'User sleep%'"
const FEATURE_WITHIN = 120000
const WITHIN = 30000

const { DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD, DB_CA, DB_HANDLE, DB_REFUSED } = process.env

let seen = []

class Absent extends Error {
  constructor (reason, source) {
    super(reason)
    this.source = source
  }
}

function absent (reason, source) {
  return async () => { throw new Absent(reason, source) }
}

function say (fields) {
  fs.writeSync(1, JSON.stringify(fields) + '\n')
}

// What has to be the same in both places.
function see (...values) {
  const shown = (key, value) => {
    if (typeof value === 'bigint') return `${value}n`
    return value?.type === 'Buffer' ? Buffer.from(value.data).toString('hex') : value
  }
  seen.push(...values.map((value) => JSON.stringify(value, shown)))
}

async function run (versions, features) {
  say({ versions })
  for (const feature of FEATURES) {
    if (OF_GATEWAY.includes(feature) && DB_HANDLE === undefined) continue
    seen = []
    try {
      await bounded(features[feature]())
      say({ feature, outcome: 'works', saw: seen.join('\n') })
    } catch (error) {
      if (error instanceof Absent) {
        say({ feature, outcome: 'absent', reason: error.message, source: error.source })
      } else {
        console.error(error)
        say({ feature, outcome: 'fails', reason: `${error.name}: ${error.message}` })
      }
    }
  }
  process.exit(0)
}

function bounded (promise) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error('it does not end')), FEATURE_WITHIN)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// The error that a promise must end with.
async function failure (promise) {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('no error')
}

// Asks until the answer is true.
async function poll (question) {
  const deadline = Date.now() + WITHIN
  while (!(await question())) {
    if (Date.now() > deadline) throw new Error('waited in vain')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// Not through `assert`: its message would hold both values.
function same (found, wanted) {
  if (found !== wanted) throw new Error(`another value of ${found.length} characters`)
}

function holds (text, ...parts) {
  for (const part of parts) assert.ok(text.includes(part), `no ${part} in ${text}`)
}

const md5 = (value) => crypto.createHash('md5').update(value).digest('hex')

// What both drivers do in the same way. `adapter.connect`, `adapter.query` (rows, columns or a summary) and `adapter.end`
// are theirs.
function stories (adapter) {
  const value = async (client, sql, values) => Object.values((await adapter.query(client, sql, values)).rows[0])[0]
  const number = async (client, sql) => Number(await value(client, sql))

  async function login (password = DB_PASSWORD) {
    const client = await adapter.connect({ password })
    assert.strictEqual(await value(client, 'select current_user()'), `${DB_USER}@${DB_HOST}`)
    see(await adapter.query(client, 'select database(), @@version, @@character_set_client, @@collation_connection'))
    await adapter.end(client)
  }

  async function refused () {
    for (const wrong of DB_REFUSED.split(' ')) {
      const [code, password] = wrong.split('=')
      const error = await failure(adapter.connect({ password }))
      assert.strictEqual(error.errno, 1045)
      holds(error.message, code)
    }
  }

  async function query () {
    const client = await adapter.connect()
    for (const [sql, values] of [
      ['create temporary table t (id int auto_increment primary key, name varchar(40) not null, unique (name))'],
      ["insert into t (name) values ('one'), ('two'), ('three')"],
      ['insert into t (name) values (?)', ["it's\\ \"four\" 世界"]],
      ["insert ignore into t (name) values ('one'), ('five')"],
      ['show warnings'],
      ["update t set name = 'two' where id < 3 and name = 'two'"],
      ['select * from t order by id'],
      ["select 1 / 0, null, cast('x' as signed)"],
      ['show warnings'],
    ]) see(await adapter.query(client, sql, values))
    for (const sql of ['select * from no_such_table', "insert into t (name) values ('one')", 'selec 1', 'kill 0']) {
      const error = await failure(adapter.query(client, sql))
      see([error.errno, error.sqlState, error.code])
    }
    see(await adapter.query(client, 'select count(*) from t'))
    await adapter.end(client)
  }

  async function types () {
    const client = await adapter.connect()
    see(await adapter.query(client, 'select * from every_type order by id'))
    see(await adapter.query(client, "select 1, -1, 1.5, 1e3, 'x', x'00ff', null, true, date'2024-02-29'"))
    await adapter.end(client)
  }

  async function prepared () {
    const client = await adapter.connect()
    const sql = 'select * from every_type where id >= ? and id < ? order by id'
    for (const values of [[1, 9], [2, 3], [9, 9]]) see(await adapter.execute(client, sql, values))
    const given = [[-7, 2.5, 'Grüße 🐘', Buffer.from([0, 255]), null], [0, 0, '', Buffer.alloc(0), 'x']]
    for (const values of given) see(await adapter.execute(client, 'select ? + 0 as a, ? as b, ? as c, hex(?) as d, ? as e', values))
    const failed = await failure(adapter.execute(client, 'select * from no_such_table where id = ?', [1]))
    see(failed.errno)
    await adapter.end(client)
  }

  async function procedure () {
    const client = await adapter.connect()
    await adapter.query(client, 'set @counted = 40')
    see(await adapter.results(client, 'call both_ways(2, @counted)'))
    assert.strictEqual(await number(client, 'select @counted'), 42)
    see((await failure(adapter.query(client, 'call no_such_procedure()'))).errno)
    await adapter.end(client)
  }

  async function multi () {
    const client = await adapter.connect({ multipleStatements: true })
    see(await adapter.results(client, 'select 1 as a; create temporary table m (id int); insert into m values (1), (2); ' +
      "select * from m; set @x = 7; select @x, 'x' union select 8, 'y'; update m set id = id + 1; select 'last'"))
    see((await failure(adapter.results(client, 'select 1; select * from no_such_table; select 2'))).errno)
    see(await adapter.query(client, "select 'still there'"))
    await adapter.end(client)
  }

  async function stream () {
    const client = await adapter.connect()
    let [count, total] = [0, 0]
    for await (const row of adapter.stream(client, `select seq, repeat('x', 100) from seq_1_to_${ROWS}`)) {
      count++
      total += Number(row.seq)
    }
    assert.deepStrictEqual([count, total], [ROWS, ROWS * (ROWS + 1) / 2])
    assert.strictEqual(await number(client, 'select 1'), 1)
    await adapter.end(client)
  }

  async function largeIn () {
    const client = await adapter.connect()
    assert.strictEqual(await value(client, 'select md5(?)', [LARGE]), md5(LARGE))
    await adapter.end(client)
  }

  async function largeOut () {
    const client = await adapter.connect()
    same(await value(client, LARGE_SQL), LARGE)
    await adapter.end(client)
  }

  async function transaction () {
    const [client, other] = [await adapter.connect(), await adapter.connect()]
    const count = () => number(other, 'select count(*) from every_type where id > 100')
    await client.beginTransaction()
    await adapter.query(client, 'insert into every_type (id) values (101)')
    await adapter.query(client, 'savepoint half')
    await adapter.query(client, 'insert into every_type (id) values (102)')
    await adapter.query(client, 'rollback to savepoint half')
    see(await count())
    await client.commit()
    see(await count())
    await client.beginTransaction()
    await adapter.query(client, 'delete from every_type where id > 100')
    await client.rollback()
    see(await count())
    await adapter.query(client, 'delete from every_type where id > 100')
    assert.strictEqual(await count(), 0)
    await Promise.all([adapter.end(client), adapter.end(other)])
  }

  async function kill () {
    const [client, observer] = [await adapter.connect(), await adapter.connect()]
    const ended = failure(adapter.query(client, SLEEP))
    await poll(async () => await number(observer, RUNNING) === 1)
    await adapter.query(observer, `kill query ${client.threadId}`)
    assert.strictEqual((await ended).errno, 1317)
    see(await adapter.query(client, 'select 1'))
    assert.strictEqual((await failure(adapter.query(observer, 'kill query 4294967290'))).errno, 1094)
    await Promise.all([adapter.end(client), adapter.end(observer)])
  }

  async function changeUser () {
    const client = await adapter.connect()
    const error = await failure(client.changeUser({ user: DB_USER, password: DB_PASSWORD, database: DB_NAME }))
    assert.strictEqual(error.errno, 1047)
    holds(error.message, 'COM_CHANGE_USER', 'connect again with your token')
  }

  async function reset () {
    const client = await adapter.connect()
    await adapter.query(client, "set @kept = 1, sql_mode = 'ansi'")
    await adapter.query(client, 'create temporary table gone (id int)')
    await client.reset()
    see(await adapter.query(client, 'select @kept, @@sql_mode, database(), @@character_set_client'))
    assert.strictEqual((await failure(adapter.query(client, 'select * from gone'))).errno, 1146)
    await adapter.end(client)
  }

  // A pool: two at a time, and a session that has died is replaced.
  async function reconnect () {
    await login()
    const pool = await adapter.pool()
    const both = await Promise.all([pool.getConnection(), pool.getConnection()])
    for (const client of both) assert.strictEqual(await number(client, 'select 1'), 1)
    await adapter.query(both[1], `kill ${both[0].threadId}`)
    await failure(adapter.query(both[0], 'select 1'))
    for (const client of both) await client.release()
    const again = await Promise.all([pool.getConnection(), pool.getConnection()])
    for (const client of again) assert.strictEqual(await value(client, 'select current_user()'), `${DB_USER}@${DB_HOST}`)
    for (const client of again) await client.release()
    await pool.end()
  }

  async function charset () {
    for (const name of ['utf8mb4', 'latin1']) {
      const client = await adapter.connect(adapter.charset(name))
      see(await adapter.query(client, "select 'Grüße', hex('Grüße'), @@character_set_results"))
      see(await adapter.query(client, 'select a_varchar, length(a_varchar) from every_type where id = 1'))
      await adapter.end(client)
    }
  }

  return {
    login, handle: () => login(DB_HANDLE), refused, query, types, prepared, multi, procedure, stream, largeIn, largeOut,
    transaction, kill, reset, changeUser, reconnect, charset,
    orm: absent('no object-relational mapper is run in Node', 'https://docs.sqlalchemy.org/en/21/dialects/mysql.html'),
  }
}

module.exports = {
  absent, md5, run, stories, LARGE,
  place: {
    host: DB_HOST, port: Number(DB_PORT), database: DB_NAME, user: DB_USER, password: DB_PASSWORD,
    ssl: { ca: fs.readFileSync(DB_CA, 'utf8') },
  },
}
