// What every Node client does: say its versions, then one line for each feature.
'use strict'

const assert = require('node:assert')
const crypto = require('node:crypto')
const fs = require('node:fs')

const FEATURES = [
  'login', 'handle', 'simple', 'prepared', 'pipeline', 'copyIn', 'copyOut',
  'cancel', 'largeIn', 'largeOut', 'reconnect',
]
const ROWS = 10000
const LARGE = '0123456789abcdef'.repeat(2 * 1024 * 1024)
const LARGE_MD5 = crypto.createHash('md5').update(LARGE).digest('hex')
const LARGE_SQL = "select repeat('0123456789abcdef', 2 * 1024 * 1024) as value"
const RUNNING =
  "select count(*)::int as value from pg_stat_activity where state = 'active' and query like '%pg_sleep(61)%' and pid <> pg_backend_pid()"
const FEATURE_WITHIN = 120000
const WITHIN = 30000

const { PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGSSLROOTCERT, PGHANDLE } = process.env

class Absent extends Error {
  constructor (reason, source) {
    super(reason)
    this.source = source
  }
}

function say (fields) {
  fs.writeSync(1, JSON.stringify(fields) + '\n')
}

async function run (versions, features) {
  say({ versions })
  for (const feature of FEATURES) {
    if (feature === 'handle' && PGHANDLE === undefined) continue
    try {
      await bounded(features[feature]())
      say({ feature, outcome: 'works' })
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

async function failsWith (sqlstate, promise) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.code, sqlstate)
    return true
  })
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

module.exports = {
  Absent, LARGE, LARGE_MD5, LARGE_SQL, ROWS, RUNNING, failsWith, poll, run, same,
  host: PGHOST, port: Number(PGPORT), database: PGDATABASE, user: PGUSER, password: PGPASSWORD,
  handle: PGHANDLE, ca: fs.readFileSync(PGSSLROOTCERT, 'utf8'),
}
