// Signs and verifies with the libraries of others: reads a JSON list of cases from stdin, writes a list of answers.
// An answer is a signature, true, or the name of the error that a refusal ended with.
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(process.argv[2] + '/')
const libraries = { standardwebhooks: require('standardwebhooks').Webhook, svix: require('svix').Webhook }
const url = (raw) => raw.toString('base64url')
const raw = (key) => Buffer.from(key.slice(5), 'base64')

// Node's own ed25519, for v1a: neither library knows that scheme.
class Ed25519 {
  constructor(key) {
    this.key = key
  }
  sign(id, at, body) {
    const bytes = raw(this.key)
    const jwk = { kty: 'OKP', crv: 'Ed25519', d: url(bytes.subarray(0, 32)), x: url(bytes.subarray(32)) }
    const signed = Buffer.from(`${id}.${Math.floor(at / 1000)}.${body}`)
    return 'v1a,' + sign(null, signed, createPrivateKey({ key: jwk, format: 'jwk' })).toString('base64')
  }
  verify(body, headers) {
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: url(raw(this.key)) }, format: 'jwk' })
    const signed = Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`)
    const entries = headers['webhook-signature'].split(' ').filter((entry) => entry.startsWith('v1a,'))
    if (!entries.some((entry) => verify(null, signed, key, Buffer.from(entry.slice(4), 'base64')))) {
      throw new TypeError('no signature matches')
    }
  }
}

function answer({ library, key, id, at, body, headers }) {
  const webhook = new (libraries[library] ?? Ed25519)(key)
  try {
    if (!headers) {
      return webhook.sign(id, library === 'node' ? at * 1000 : new Date(at * 1000), body)
    }
    webhook.verify(body, headers)
    return true
  } catch (error) {
    return error.constructor.name
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(answer)))
