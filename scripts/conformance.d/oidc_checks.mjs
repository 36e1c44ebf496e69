// What must hold of the policy `jwt` before a real issuer, by its manual. Prints a line a check; the last line counts.
import { execFile } from 'node:child_process'
import * as crypto from 'node:crypto'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Issuer, algorithms, newKeys } from './oidc_issuer.mjs'

const [gateway] = process.argv.slice(2)
const upstream = { calls: 0 }, stranger = { calls: 0 }
const serve = (port, counter, answer) => new Promise((done) => createServer((request, response) => {
  counter.calls += 1
  response.setHeader('content-type', 'application/json').end(JSON.stringify(answer(request)))
}).listen(port, '127.0.0.1', done))

let passed = 0, failed = 0
function check(name, faults, note = '') {
  if (faults.length === 0) passed += 1
  else failed += 1
  console.log(faults.length === 0 ? `ok    ${name}${note && `: ${note}`}` : `FAIL  ${name}: ${faults.join('; ')}`)
}
const differences = (found, expected) => Object.entries(expected)
  .filter(([key, value]) => found[key] !== value)
  .map(([key, value]) => `${key} is ${JSON.stringify(found[key])} in place of ${JSON.stringify(value)}`)

/// What the caller gets, and what the upstream saw of it.
async function call(path, token, more = {}) {
  const before = upstream.calls
  // The fields that the policy makes are its own, whatever a caller sends in them.
  const headers = { 'x-caller': 'root', 'x-scope': 'all', ...(token && { authorization: `Bearer ${token}` }), ...more }
  const answer = await fetch(gateway + path, { headers })
  const body = await answer.json()
  return {
    status: answer.status, code: body.code, challenge: answer.headers.get('www-authenticate') ?? '',
    retry_after: answer.headers.get('retry-after'), reached: upstream.calls - before, ...body.fields,
  }
}
async function accepted(name, path, token, more = {}) {
  const expected = {
    status: 200, reached: 1, authorization: `Bearer ${token}`,
    'x-caller': 'shop', 'x-scope': 'orders:read', 'x-audience': 'orders', 'x-issuer': issuer.url, ...more,
  }
  check(name, differences(await call(path, token), expected))
}
async function refused(name, path, token, why) {
  const challenge = `Bearer error="invalid_token", error_description="${why}"`
  check(name, differences(await call(path, token), { status: 401, code: 'unauthenticated', reached: 0, challenge }))
}
const notRefused = (answers) => answers.filter(({ status }) => status !== 401).map(({ status }) => `one was answered ${status}`)
const WRONG_SIGNATURE = "the token's signature is wrong", UNKNOWN_KEY = 'the token is signed with a key that is not known'
const ALGORITHM = "the token's algorithm is not accepted", NOT_ONE = 'this is not a signed token'

/// Calls until it is answered so; how many seconds that took.
async function until(status, limit, path, token) {
  for (const began = Date.now(); ; await sleep(100)) {
    const found = (await call(path, token)).status, seconds = (Date.now() - began) / 1000
    if (found === status) return { faults: [], note: `after ${seconds.toFixed(1)} s` }
    if (seconds > limit) return { faults: [`still ${found} after ${seconds.toFixed(1)} s`] }
  }
}
async function becomes(name, ...what) {
  const { faults, note } = await until(...what)
  check(name, faults, note)
}

// Tokens that others make.
const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url'))
const header = (token) => decode(token.split('.')[0]), claims = (token) => decode(token.split('.')[1])
function made(header, claims, sign) {
  const signed = `${encode(header)}.${encode(claims)}`
  return `${signed}.${sign(Buffer.from(signed)).toString('base64url')}`
}
const by = (key) => (signed) => crypto.sign('sha256', signed, key)
const withSecret = (secret, hash = 'sha256') => (signed) => crypto.createHmac(hash, secret).update(signed).digest()

// What is set up: one issuer, and one with the same keys that is another.
const keys = newKeys()
const issuer = new Issuer(18255, keys), other = new Issuer(18256, keys)
const pair = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 })
const ofStranger = { ...pair.publicKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: 'stranger' }
await Promise.all([
  issuer.start(), other.start(), serve(18254, upstream, (request) => ({ fields: request.headers })),
  serve(18257, stranger, () => ({ keys: [ofStranger] })),
])
const headers = { 'x-caller': 'client_id', 'x-scope': 'scope', 'x-audience': 'aud', 'x-issuer': 'iss' }
/// What differs in how keys are kept has a set of its own.
async function apply(apis) {
  const documents = Object.entries(apis).map(([name, { jwks, policies = [], ...more }]) => JSON.stringify({
    kind: 'Api', name, spec: {
      base_path: `/${name}`, upstream: 'orders', policies: [{
        jwt: {
          jwks: { allow_private: true, ...jwks }, audiences: ['orders'], types: ['at+jwt'], leeway: '1ms',
          application: { claim: 'client_id' }, claims_to_headers: headers, ...more,
        },
      }, ...policies],
    },
  }))
  const running = promisify(execFile)(process.env.TOLLGATE, [
    'apply', '-f', '-', '--wait', '--server', process.env.TOLLGATE_SERVER, '--token', process.env.TOLLGATE_ADMIN_TOKEN,
  ])
  running.child.stdin.end(documents.join('\n---\n'))
  await running
}
await apply({
  orders: { jwks: { issuer: issuer.url, cache: '10m' } },
  reads: { jwks: { issuer: issuer.url, cache: '10m' }, policies: [{ acl: { allow: { scopes: ['orders:read'] } } }] },
  'by-url': { jwks: { url: `${issuer.url}/jwks`, cache: '10m' }, issuers: [issuer.url] },
  rotating: { jwks: { issuer: issuer.url, cache: '9m' } },
  short: { jwks: { issuer: issuer.url, cache: '10s' } },
  any: { jwks: { issuer: issuer.url, cache: '10m' }, audiences: undefined, types: undefined, application: undefined },
})

// Good tokens. Once more, for the second is from memory.
for (const algorithm of algorithms) {
  const token = await issuer.token(`https://orders.test/${algorithm}`)
  await accepted(`${algorithm} is accepted, by the keys that the issuer's configuration names`, '/orders', token)
  await accepted(`${algorithm} is accepted, by the URL of the keys`, '/by-url', token)
  await accepted(`${algorithm} is accepted again`, '/orders', token)
}
const good = await issuer.token('https://orders.test/RS256')
const writes = await issuer.token('https://orders.test/ES256', 'shop', 'orders:write')
await accepted('a scope that is asked for is let in', '/reads', good)
const forbidden = { status: 403, code: 'forbidden', reached: 0 }
check('another scope is not', differences(await call('/reads', writes), forbidden))
const plain = await issuer.token('https://orders.test/ES256', 'shop', '')
await accepted('a token without scopes says none, whatever the caller says', '/orders', plain, { 'x-scope': undefined })
check('and is not let in where one is asked for', differences(await call('/reads', plain), forbidden))
const unknown = await issuer.token('https://orders.test/ES256', 'stranger')
check('a client that is no application is not', differences(await call('/orders', unknown), forbidden))
const missing = { status: 401, code: 'unauthenticated', reached: 0, challenge: 'Bearer' }
check('no token', differences(await call('/orders'), missing))

// Real tokens that are not for here.
await refused('another audience', '/orders', await issuer.token('https://billing.test/ES256'), 'the token is for another audience')
for (const path of ['/orders', '/by-url']) {
  const token = await other.token('https://orders.test/ES256')
  await refused(`another issuer with the same keys, on ${path}`, path, token, "the token's issuer is not accepted")
}
const opaque = await issuer.token('https://orders.test/ES256?format=opaque')
await refused('an opaque token', '/orders', opaque, NOT_ONE)
const introspection = await issuer.introspection(opaque)
await refused('what the issuer signs about a token', '/orders', introspection, "the token's type is not accepted")
await refused('the same where any type will do', '/any', introspection, 'the token lacks a claim, or has a wrong one')
const brief = await issuer.token('https://orders.test/PS256?ttl=2')
await accepted('a token of two seconds, at first', '/orders', brief)
await sleep(claims(brief).exp * 1000 - Date.now() + 50)
await refused('a token of two seconds, afterwards', '/orders', brief, 'the token has expired')

// Forged tokens. A key that is not known may make the node ask the issuer, once in 30 seconds.
const fetches = issuer.fetches, asked = Date.now()
for (const algorithm of algorithms) {
  const token = await issuer.token(`https://orders.test/${algorithm}`), [head, payload, signature] = token.split('.')
  const more = encode({ ...claims(token), scope: 'orders:read orders:write' })
  await refused(`${algorithm}: other claims under the same signature`, '/orders', `${head}.${more}.${signature}`, WRONG_SIGNATURE)
  const cut = Buffer.from(signature, 'base64url').subarray(1).toString('base64url')
  await refused(`${algorithm}: a signature that is cut`, '/orders', `${head}.${payload}.${cut}`, WRONG_SIGNATURE)
  const zeros = Buffer.alloc(Buffer.from(signature, 'base64url').length).toString('base64url')
  await refused(`${algorithm}: a signature of zeros`, '/orders', `${head}.${payload}.${zeros}`, WRONG_SIGNATURE)
}
const { kid } = header(good), fits = claims(good)
for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
  const unsigned = `${encode({ ...header(good), alg })}.${encode(fits)}`
  await refused(`alg ${JSON.stringify(alg)} without a signature`, '/orders', `${unsigned}.`, NOT_ONE)
  await refused(`alg ${JSON.stringify(alg)} with the signature of another`, '/orders', `${unsigned}.${good.split('.')[2]}`, ALGORITHM)
}
const published = (await (await fetch(`${issuer.url}/jwks`)).json()).keys
for (const jwk of published.filter(({ use }) => use === 'sig')) {
  const key = crypto.createPublicKey({ key: jwk, format: 'jwk' })
  const spki = key.export({ type: 'spki', format: 'pem' })
  const secrets = {
    PEM: spki, 'PEM without the last line end': spki.trimEnd(), DER: key.export({ type: 'spki', format: 'der' }), JWK: JSON.stringify(jwk),
    number: Buffer.from(jwk.n ?? jwk.x, 'base64url'), nothing: '',
  }
  for (const [name, secret] of Object.entries(secrets)) for (const bits of [256, 384, 512]) {
    const token = made({ alg: `HS${bits}`, typ: 'at+jwt', kid: jwk.kid }, fits, withSecret(secret, `sha${bits}`))
    await refused(`HS${bits} by the public key of ${jwk.alg} as a secret (${name})`, '/orders', token, ALGORITHM)
  }
}
const url = 'http://127.0.0.1:18257/keys', spki = pair.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
const injections = { jwk: { jwk: ofStranger }, jku: { jku: url }, x5u: { x5u: url }, x5c: { x5c: [spki] } }
for (const [name, injected] of Object.entries({ ...injections, nothing: {}, all: Object.assign({}, ...Object.values(injections)) })) {
  const forged = (kid) => made({ alg: 'RS256', typ: 'at+jwt', kid, ...injected }, fits, by(pair.privateKey))
  await refused(`a key of the caller's own with ${name} in the header, under a known name`, '/orders', forged(kid), WRONG_SIGNATURE)
  for (const other of ['stranger', undefined]) {
    const under = other === undefined ? 'no name' : 'a name of its own'
    await refused(`a key of the caller's own with ${name} in the header, under ${under}`, '/orders', forged(other), UNKNOWN_KEY)
  }
}
check('what a header points to is never asked for', differences(stranger, { calls: 0 }))
const critical = made({ ...header(good), crit: ['b64'], b64: false }, fits, by(pair.privateKey))
await refused('an extension that is demanded', '/orders', critical, 'the token needs an extension that is not supported')
const own = (alg) => crypto.createPrivateKey({ key: keys.find((key) => key.alg === alg), format: 'jwk' })
const named = (alg) => published.find((key) => key.alg === alg).kid
const encrypting = made({ alg: 'RS256', typ: 'at+jwt', kid: named('RSA-OAEP-256') }, fits, by(own('RSA-OAEP-256')))
await refused("the issuer's key of encryption", '/orders', encrypting, UNKNOWN_KEY)
const mistaken = made({ alg: 'RS256', typ: 'at+jwt', kid: named('PS256') }, fits, by(own('PS256')))
await refused('RS256 by the key of PS256', '/orders', mistaken, WRONG_SIGNATURE)
const rebuilt = made({ alg: 'RS256', typ: 'at+jwt', kid }, fits, by(own('RS256')))
await accepted('the same with the key that is for it, so that those above were refused for their faults', '/orders', rebuilt)
const ofNobody = (at) => made({ alg: 'RS256', typ: 'at+jwt', kid: `stranger-${at}` }, fits, by(pair.privateKey))
const flood = Array.from({ length: 50 }, (_, at) => ofNobody(at))
check('fifty unknown keys at once', notRefused(await Promise.all(flood.map((token) => call('/orders', token)))))
const seconds = (Date.now() - asked) / 1000, most = 1 + Math.floor(seconds / 30)
// The set of ten seconds is renewed every eight, and one ask is the test's own.
const rest = 1 + Math.ceil(seconds / 8), times = issuer.fetches - fetches
check('unknown keys have the issuer asked at most every 30 seconds', times > most + rest ? [`${times} times in ${seconds} s`] : [])
await accepted('tokens go on after all of that', '/orders', await issuer.token('https://orders.test/EdDSA'))

// New keys beside the old, then without them; nothing is restarted.
const old = {}
for (const algorithm of algorithms) old[algorithm] = await issuer.token(`https://orders.test/${algorithm}`)
for (const path of ['/rotating', '/short']) await accepted(`the keys of before, on ${path}`, path, old.RS256)
const newer = newKeys()
issuer.publish([...newer, ...keys])
const fresh = {}
for (const algorithm of algorithms) fresh[algorithm] = await issuer.token(`https://orders.test/${algorithm}`)
check('the issuer signs with its new keys', algorithms.filter((one) => header(fresh[one]).kid === header(old[one]).kid))
for (const algorithm of algorithms) await accepted(`${algorithm}: a new key is accepted at the first call`, '/rotating', fresh[algorithm])
for (const algorithm of algorithms) await accepted(`${algorithm}: the old key is accepted beside it`, '/rotating', old[algorithm])
await becomes('a new key is accepted within 30 seconds where the issuer has just been asked', 200, 30, '/orders', fresh.ES256)
await becomes('keys of ten seconds: the new set is held', 200, 11, '/short', fresh.RS256)
issuer.publish(newer)
await becomes('keys of ten seconds: a token of the key that is gone is refused once they are renewed', 401, 11, '/short', old.RS256)
await refused('keys of ten seconds: one that was never seen before is refused too', '/short', old.ES512, UNKNOWN_KEY)
await accepted('keys of ten seconds: the new key goes on', '/short', fresh.RS256)
await accepted('keys of nine minutes: the old set is held, and good', '/rotating', old.RS256)

// A set that is renewed takes with it what was remembered of the old one, on every thread.
const kept = { before: await issuer.token('https://orders.test/RS256'), later: await issuer.token('https://orders.test/ES384') }
issuer.publish([...newKeys(), ...newer])
const third = await issuer.token('https://orders.test/EdDSA')
await becomes('a second new key is accepted within 30 seconds', 200, 30, '/rotating', third)
for (const algorithm of ['RS256', 'EdDSA']) {
  const answers = await Promise.all(Array.from({ length: 16 }, () => call('/rotating', old[algorithm])))
  check(`${algorithm}: sixteen calls at once by a key that is gone are refused, whatever was remembered`, notRefused(answers))
}

// The issuer is away.
await issuer.stop()
for (const path of ['/orders', '/short']) await accepted(`the issuer is away: a token that is new goes on, on ${path}`, path, kept.before)
await refused('the issuer is away: a key that is not known', '/orders', flood[0], UNKNOWN_KEY)
await apply({
  late: { jwks: { issuer: issuer.url, cache: '8m' } },
  open: { jwks: { issuer: issuer.url, cache: '8m' }, on_failure: 'open' },
})
const none = { status: 503, code: 'identity_unavailable', reached: 0, retry_after: '1' }
check('the issuer is away: without keys, calls are refused', differences(await call('/late', kept.before), none))
const open = { status: 200, reached: 1, authorization: undefined, 'x-caller': undefined, 'x-scope': undefined }
check('the issuer is away: without keys, `open` lets calls go on without a token', differences(await call('/open', kept.before), open))
await sleep(11_000)
await accepted('the issuer is away: keys of ten seconds are held for longer', '/short', kept.later)
await issuer.start()
await becomes('the issuer is back: calls that had no keys are let in', 200, 60, '/late', kept.before)
await refused('the issuer is back: `open` refuses what is not good', '/open', `${kept.before.slice(0, -8)}AAAAAAAA`, WRONG_SIGNATURE)

console.log(`${passed} of ${passed + failed} checks passed`)
process.exit(failed === 0 ? 0 : 1)
