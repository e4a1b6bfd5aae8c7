// A foreign peer that costs a node of `reg` as much as it can: js-libp2p, with expensive messages that a test has made.
// Usage: node peer.mjs NODE_MODULES ADDRESS FOLDER VERSION SECONDS
// FOLDER holds gossip-*.bin, heads.bin, vows.bin, records.bin (responses) and ask-*.bin (requests).
import { createRequire } from 'node:module'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

// Node.js has it from version 22 on.
Promise.withResolvers ??= () => {
  const it = {}
  it.promise = new Promise((resolve, reject) => Object.assign(it, { resolve, reject }))
  return it
}
const [modules, address, folder, version, seconds] = process.argv.slice(2)
const require = createRequire(join(modules, 'none.js'))
const load = name => import(pathToFileURL(join(modules, name, 'dist/src/index.js')))
const [{ createLibp2p }, { gossipsub }, { noise }, { yamux }, { tcp }, { identify }, { multiaddr }] = await Promise.all([
  load('libp2p'), load('@chainsafe/libp2p-gossipsub'), load('@chainsafe/libp2p-noise'), load('@chainsafe/libp2p-yamux'),
  load('@libp2p/tcp'), load('@libp2p/identify'), load('@multiformats/multiaddr')
])

const read = name => readFileSync(join(folder, name))
const named = prefix => readdirSync(folder).filter(it => it.startsWith(prefix)).sort().map(read)
const gossip = named('gossip-')
const asks = named('ask-')
const answers = { get_heads: read('heads.bin'), get_vows: read('vows.bin'), get_records: read('records.bin') }
const records = `/reg/records/${version}`
const topic = `reg/tags/${version}`
const end = Date.now() + 1000 * Number(seconds)
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const counts = { connected: 0, closed: 0, refused: 0, sent: 0, answered: 0, asked: 0 }
let message = 0

async function answer ({ stream }) {
  try {
    const parts = []
    for await (const chunk of stream.source) {
      parts.push(Buffer.from(chunk.subarray()))
      const bytes = Buffer.concat(parts)
      if (bytes.length >= 8 && bytes.length >= 8 + bytes.readUInt32BE(0)) break
    }
    const { ask } = JSON.parse(Buffer.concat(parts).subarray(8).toString())
    const bytes = answers[ask]
    if (bytes === undefined) return stream.abort(new Error('not answered'))
    await stream.sink([bytes])
    counts.answered += 1
  } catch {}
}

async function ask (node, peer, isOver) {
  while (!isOver() && asks.length > 0) {
    try {
      const stream = await node.dialProtocol(peer, records, { signal: AbortSignal.timeout(5000) })
      await stream.sink([asks[counts.asked % asks.length]])
      for await (const _ of stream.source) { if (isOver()) break }
      counts.asked += 1
    } catch { await pause(50) }
  }
}

// One identity after another: a peer that is refused comes back under a new name.
while (Date.now() < end) {
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    services: {
      identify: identify({ protocolPrefix: 'ipfs', agentVersion: 'js-libp2p' }),
      gossip: gossipsub({ allowPublishToZeroTopicPeers: true, emitSelf: false, maxOutboundBufferSize: 1 << 24 })
    }
  })
  const isOver = () => closed || Date.now() >= end
  let closed = false
  // A node disconnects peers of other networks, which it knows by this.
  node.services.identify.host.protocolVersion = `reg/${version}`
  node.addEventListener('peer:disconnect', () => { closed = true })
  await node.handle(records, answer, { maxInboundStreams: 64, maxOutboundStreams: 64 })
  node.services.gossip.subscribe(topic)
  try {
    const connection = await node.dial(multiaddr(address), { signal: AbortSignal.timeout(5000) })
    counts.connected += 1
    console.log(`PEER ${node.peerId}`)
    for (let n = 0; n < 16; n++) ask(node, connection.remotePeer, isOver)
    await pause(500)
    while (!isOver()) {
      for (let n = 0; n < 8 && !isOver(); n++) {
        try { await node.services.gossip.publish(topic, gossip[message++ % gossip.length]); counts.sent += 1 } catch {}
      }
      await pause(20)
    }
    if (closed) counts.closed += 1
  } catch (error) { counts.refused += 1; await pause(100) }
  await Promise.race([node.stop(), pause(2000)])
}
console.log(`DONE ${JSON.stringify(counts)}`)
process.exit(0)
