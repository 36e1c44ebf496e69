// An issuer (npm: oidc-provider) that gives access tokens as JWTs to clients that prove themselves (`client_credentials`). The
// resource that is asked for says what a token is to be: https://orders.test/ES256?ttl=2 is one for `orders`, signed by
// ES256, good for two seconds.
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

const rsa = ['rsa', { modulusLength: 2048 }], ec = (namedCurve) => ['ec', { namedCurve }]
const KINDS = {
  RS256: rsa, PS256: rsa, ES256: ec('P-256'), EdDSA: ['ed25519', {}],
  RS512: rsa, PS512: rsa, ES384: ec('P-384'), ES512: ec('P-521'), Ed25519: ['ed25519', {}],
}
export const algorithms = Object.keys(KINDS)
const SECRET = 'what the clients prove themselves with'

/// A private key of each algorithm, and one that does not sign.
export function newKeys() {
  const key = (kind, more) => ({ ...generateKeyPairSync(...kind).privateKey.export({ format: 'jwk' }), ...more })
  const signing = algorithms.map((alg) => key(KINDS[alg], { alg, use: 'sig' }))
  return [...signing, key(rsa, { alg: 'RSA-OAEP-256', use: 'enc' })]
}

export class Issuer {
  /// How often its keys were asked for.
  fetches = 0

  constructor(port, keys) {
    this.port = port
    this.url = `http://127.0.0.1:${port}`
    this.publish(keys)
  }

  /// Goes over to these keys; the first of an algorithm signs.
  publish(keys) {
    const client = (client_id) => ({
      client_id, client_secret: SECRET, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      introspection_signed_response_alg: 'ES256',
    })
    const getResourceServerInfo = (_context, resource) => {
      const { hostname, pathname, searchParams } = new URL(resource)
      return {
        audience: hostname.split('.')[0], scope: 'orders:read orders:write', accessTokenTTL: Number(searchParams.get('ttl') ?? 600),
        accessTokenFormat: searchParams.get('format') ?? 'jwt', jwt: { sign: { alg: pathname.slice(1) } },
      }
    }
    const provider = new Provider(this.url, {
      jwks: { keys }, scopes: ['orders:read', 'orders:write'], clients: [client('shop'), client('stranger')],
      ttl: { ClientCredentials: (_context, token) => token.resourceServer.accessTokenTTL },
      features: {
        devInteractions: { enabled: false }, clientCredentials: { enabled: true }, encryption: { enabled: true },
        introspection: { enabled: true, allowedPolicy: () => true }, jwtIntrospection: { enabled: true },
        resourceIndicators: { enabled: true, getResourceServerInfo },
      },
    })
    this.answer = provider.callback()
  }

  start() {
    this.server = createServer((request, response) => {
      if (request.url === '/jwks') this.fetches += 1
      this.answer(request, response)
    })
    return new Promise((done) => this.server.listen(this.port, '127.0.0.1', done))
  }

  stop() {
    const closed = new Promise((done) => this.server.close(done))
    this.server.closeAllConnections()
    return closed
  }

  async token(resource, client = 'shop', scope = 'orders:read') {
    return (await this.ask('token_endpoint', client, { grant_type: 'client_credentials', resource, scope })).json()
      .then((answer) => answer.access_token ?? Promise.reject(new Error(JSON.stringify(answer))))
  }

  /// What it says of a token to who asks, itself signed by it (RFC 9701).
  async introspection(token) {
    return (await this.ask('introspection_endpoint', 'shop', { token })).text()
  }

  async ask(endpoint, client, form) {
    const configuration = await (await fetch(`${this.url}/.well-known/openid-configuration`)).json()
    const authorization = `Basic ${btoa(`${client}:${encodeURIComponent(SECRET)}`)}`
    const headers = { authorization, accept: 'application/json;q=0.1, application/token-introspection+jwt' }
    return fetch(configuration[endpoint], { method: 'POST', headers, body: new URLSearchParams(form) })
  }
}
